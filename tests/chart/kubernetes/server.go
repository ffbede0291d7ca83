package main

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/applyconfigurations"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	"k8s.io/kubernetes/pkg/registry/apps/deployment"
	"k8s.io/kubernetes/pkg/registry/core/configmap"
	"k8s.io/kubernetes/pkg/registry/core/pod"
	"k8s.io/kubernetes/pkg/registry/core/secret"
	"k8s.io/kubernetes/pkg/registry/core/service"
	"k8s.io/kubernetes/pkg/registry/core/serviceaccount"
	"k8s.io/kubernetes/pkg/registry/networking/ingress"
	"k8s.io/kubernetes/pkg/registry/networking/networkpolicy"
	"k8s.io/kubernetes/pkg/registry/policy/poddisruptionbudget"
)

// The manager of the fields, as helm is.
const manager = "helm"

type strategy interface {
	rest.RESTCreateStrategy
	rest.RESTUpdateStrategy
}

// What judges each kind, after it has its defaults.
var strategies = map[string]strategy{
	"ConfigMap":           configmap.Strategy,
	"Deployment":          deployment.Strategy,
	"Ingress":             ingress.Strategy,
	"NetworkPolicy":       networkpolicy.Strategy,
	"Pod":                 pod.Strategy,
	"PodDisruptionBudget": poddisruptionbudget.Strategy,
	"Secret":              secret.Strategy,
	"Service":             service.Strategy,
	"ServiceAccount":      serviceaccount.Strategy,
}

// server is what an API server does with what it is sent, without storage.
type server struct {
	types  managedfields.TypeConverter
	strict runtime.Decoder
	pods   *podSecurity
}

func newServer() (*server, error) {
	pods, err := newPodSecurity()
	if err != nil {
		return nil, err
	}
	strict := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	return &server{applyconfigurations.NewTypeConverter(clientscheme.Scheme), strict, pods}, nil
}

// judge installs a manifest, over what was installed before if there is that, and then applies it again.
func (s *server) judge(wanted manifest, before *manifest, restricted bool) error {
	kind := wanted.object.GroupVersionKind()
	if _, known := strategies[kind.Kind]; !known {
		return fmt.Errorf("%s is not known here", kind)
	}
	versioned, _, err := s.strict.Decode(wanted.data, nil, nil)
	if err != nil {
		return err
	}
	var installed runtime.Object
	if before != nil {
		if installed, err = s.apply(nil, *before); err != nil {
			return fmt.Errorf("what was there before: %w", err)
		}
	}
	first, err := s.apply(installed, wanted)
	if err != nil {
		return err
	}
	again, err := s.apply(first, wanted)
	if err != nil {
		return fmt.Errorf("applied again: %w", err)
	}
	forget(first)
	forget(again)
	if !equality.Semantic.DeepEqual(first, again) {
		return fmt.Errorf("applied again, it is another one: %s", diff.Diff(first, again))
	}
	return s.pods.judge(s, versioned, restricted)
}

// apply is one request of server-side apply: the object as it would be stored.
func (s *server) apply(live runtime.Object, wanted manifest) (runtime.Object, error) {
	kind := wanted.object.GroupVersionKind()
	hub := schema.GroupVersion{Group: kind.Group, Version: runtime.APIVersionInternal}
	scheme := legacyscheme.Scheme
	fields, err := managedfields.NewDefaultFieldManager(s.types, scheme, scheme, scheme, kind, hub, "", nil)
	if err != nil {
		return nil, err
	}
	created := live == nil
	if created {
		if live, err = scheme.New(hub.WithKind(kind.Kind)); err != nil {
			return nil, err
		}
	}
	applied, err := fields.Apply(live.DeepCopyObject(), wanted.object.DeepCopy(), manager, true)
	if err != nil {
		return nil, err
	}
	return applied, check(applied, live, created, kind, wanted.object.GetNamespace())
}

// check is the judgement of the kind's own code; it also sets what users cannot.
func check(object, live runtime.Object, created bool, kind schema.GroupVersionKind, namespace string) error {
	judge := strategies[kind.Kind]
	ctx := request.WithNamespace(context.Background(), namespace)
	ctx = request.WithRequestInfo(ctx, &request.RequestInfo{APIGroup: kind.Group, APIVersion: kind.Version, IsResourceRequest: true})
	said := func(warnings []string) error {
		var all []error
		for _, warning := range warnings {
			all = append(all, fmt.Errorf("warning: %s", warning))
		}
		return errors.Join(all...)
	}
	if created {
		meta, err := meta.Accessor(object)
		if err != nil {
			return err
		}
		rest.FillObjectMetaSystemFields(meta)
		allocate(object)
		if err := rest.BeforeCreate(judge, ctx, object); err != nil {
			return err
		}
		// As if it had been stored.
		meta.SetResourceVersion("1")
		return said(judge.WarningsOnCreate(ctx, object))
	}
	if err := rest.BeforeUpdate(judge, ctx, object, live.DeepCopyObject()); err != nil {
		return err
	}
	return said(judge.WarningsOnUpdate(ctx, object, live))
}

// forget removes when fields were set.
func forget(object runtime.Object) {
	if meta, err := meta.Accessor(object); err == nil {
		meta.SetManagedFields([]metav1.ManagedFieldsEntry{})
	}
}
