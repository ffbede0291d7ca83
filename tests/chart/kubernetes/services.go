package main

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/utils/ptr"
)

// Where no other is asked for; the numbers stand for what an API server would choose.
var addresses = map[core.IPFamily]string{core.IPv4Protocol: "10.96.0.10", core.IPv6Protocol: "fd00::10"}

const nodePort = 30100

// allocate gives a new Service what an API server's storage would: addresses and ports of nodes.
func allocate(object runtime.Object) {
	service, is := object.(*core.Service)
	if !is {
		return
	}
	spec := &service.Spec
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = []core.IPFamily{core.IPv4Protocol}
		if spec.IPFamilyPolicy != nil && *spec.IPFamilyPolicy != core.IPFamilyPolicySingleStack {
			spec.IPFamilies = append(spec.IPFamilies, core.IPv6Protocol)
		}
	}
	if spec.IPFamilyPolicy == nil {
		spec.IPFamilyPolicy = ptr.To(core.IPFamilyPolicySingleStack)
	}
	if spec.ClusterIP == "" {
		spec.ClusterIP = addresses[spec.IPFamilies[0]]
	}
	spec.ClusterIPs = []string{spec.ClusterIP}
	if spec.ClusterIP != core.ClusterIPNone {
		for _, family := range spec.IPFamilies[1:] {
			spec.ClusterIPs = append(spec.ClusterIPs, addresses[family])
		}
	}
	if spec.Type == core.ServiceTypeClusterIP {
		return
	}
	for number := range spec.Ports {
		if spec.Ports[number].NodePort == 0 {
			spec.Ports[number].NodePort = nodePort + int32(number)
		}
	}
	if spec.Type == core.ServiceTypeLoadBalancer && spec.ExternalTrafficPolicy == core.ServiceExternalTrafficPolicyLocal {
		spec.HealthCheckNodePort = nodePort - 1
	}
}
