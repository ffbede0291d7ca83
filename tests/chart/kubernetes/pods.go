package main

import (
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// podSecurity judges pods as the admission plugin of that name does.
type podSecurity struct {
	evaluator policy.Evaluator
}

func newPodSecurity() (*podSecurity, error) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	return &podSecurity{evaluator}, err
}

// judge takes a Pod, and what makes pods: one as its controller would make it must be taken too.
func (p *podSecurity) judge(s *server, object runtime.Object, restricted bool) error {
	switch it := object.(type) {
	case *corev1.Pod:
		return p.evaluate(&it.ObjectMeta, &it.Spec, restricted)
	case *appsv1.Deployment:
		template := it.Spec.Template
		pod := corev1.Pod{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
			ObjectMeta: *template.ObjectMeta.DeepCopy(),
			Spec:       *template.Spec.DeepCopy(),
		}
		pod.Name, pod.Namespace = it.Name+"-x", "databases"
		made, err := sent(&pod)
		if err != nil {
			return err
		}
		if _, err := s.apply(nil, made); err != nil {
			return fmt.Errorf("its pod: %w", err)
		}
		return p.evaluate(&template.ObjectMeta, &template.Spec, restricted)
	default:
		return nil
	}
}

func (p *podSecurity) evaluate(meta *metav1.ObjectMeta, spec *corev1.PodSpec, restricted bool) error {
	if !restricted {
		return nil
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	result := policy.AggregateCheckResults(p.evaluator.EvaluatePod(level, meta, spec))
	if !result.Allowed {
		return fmt.Errorf("Pod Security, restricted: %s", result.ForbiddenDetail())
	}
	return nil
}

// sent is an object as it is sent to the API server.
func sent(object any) (manifest, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return manifest{}, err
	}
	found := &unstructured.Unstructured{}
	return manifest{found, data}, found.UnmarshalJSON(data)
}
