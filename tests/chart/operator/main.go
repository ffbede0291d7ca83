// Reads manifests and decodes those of the Prometheus operator, the Gateway API and the vertical pod autoscaler into these
// projects' own types: a field that those do not have is an error. Kubernetes' schemas know nothing of them.
//
// Usage: operator FILE...
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	autoscaling "k8s.io/autoscaler/vertical-pod-autoscaler/pkg/apis/autoscaling.k8s.io/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Groups that are not Kubernetes' own.
var groups = []string{"monitoring.coreos.com/", "gateway.networking.k8s.io/", "autoscaling.k8s.io/"}

func main() {
	checked, failed := 0, 0
	for _, path := range os.Args[1:] {
		manifests, err := os.ReadFile(path)
		if err != nil {
			fmt.Fprintln(os.Stderr, "operator:", err)
			os.Exit(1)
		}
		for _, manifest := range bytes.Split(manifests, []byte("\n---\n")) {
			ours, err := check(manifest)
			if ours {
				checked++
			}
			if err != nil {
				failed++
				fmt.Printf("operator: %s: %v\n", path, err)
			}
		}
	}
	fmt.Printf("operator: %d resources, %d invalid\n", checked, failed)
	if failed > 0 || checked == 0 {
		os.Exit(1)
	}
}

// check tells whether the manifest is one of the operator's, and what is wrong with it.
func check(manifest []byte) (bool, error) {
	data, err := yaml.YAMLToJSONStrict(manifest)
	if err != nil {
		return false, err
	}
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := json.UnmarshalCaseSensitivePreserveInts(data, &head); err != nil {
		return false, err
	}
	if !slices.ContainsFunc(groups, func(group string) bool { return strings.HasPrefix(head.APIVersion, group) }) {
		return false, nil
	}
	kinds := map[string]any{
		"monitoring.coreos.com/v1 ServiceMonitor":     &monitoring.ServiceMonitor{},
		"monitoring.coreos.com/v1 PodMonitor":         &monitoring.PodMonitor{},
		"monitoring.coreos.com/v1 PrometheusRule":     &monitoring.PrometheusRule{},
		"gateway.networking.k8s.io/v1 HTTPRoute":      &gateway.HTTPRoute{},
		"autoscaling.k8s.io/v1 VerticalPodAutoscaler": &autoscaling.VerticalPodAutoscaler{},
	}
	into, known := kinds[head.APIVersion+" "+head.Kind]
	if !known {
		return true, fmt.Errorf("%s %s is not known here", head.APIVersion, head.Kind)
	}
	strict, err := json.UnmarshalStrict(data, into)
	if err == nil {
		err = errors.Join(strict...)
	}
	if err != nil {
		return true, fmt.Errorf("%s: %w", head.Kind, err)
	}
	return true, nil
}
