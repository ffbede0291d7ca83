{{/* What the two Services have in common, but for their ports. Takes {root, key}: key names the values. */}}
{{- define "pgtether.serviceSpec" -}}
type: {{ (index .root.Values .key).type }}
{{- $key := .key }}
{{- $values := index .root.Values .key }}
{{- $balanced := eq $values.type "LoadBalancer" }}
{{- range list "loadBalancerClass" "loadBalancerIP" "loadBalancerSourceRanges" }}
{{- if and (index $values .) (not $balanced) }}
{{- fail (printf "%s.%s needs %s.type=LoadBalancer, but the type is %s." $key . $key $values.type) }}
{{- end }}
{{- end }}
{{- if and $values.externalTrafficPolicy (eq $values.type "ClusterIP") }}
{{- fail (printf "%s.externalTrafficPolicy needs %s.type=LoadBalancer or NodePort: nothing from outside reaches a ClusterIP." $key $key) }}
{{- end }}
{{- if and (eq $values.clusterIP "None") (ne $values.type "ClusterIP") }}
{{- fail (printf "%s.clusterIP=None makes a headless Service, whose type is ClusterIP; %s.type is %s." $key $key $values.type) }}
{{- end }}
{{- range $field := list "clusterIP" "ipFamilyPolicy" "ipFamilies" "sessionAffinity" "externalTrafficPolicy" "internalTrafficPolicy" "loadBalancerClass" "loadBalancerIP" "loadBalancerSourceRanges" }}
{{- /* Who resolves the name of a headless Service chooses a pod, so there is nothing to keep. */}}
{{- $ignored := and (eq $field "sessionAffinity") (eq $values.clusterIP "None") }}
{{- with ternary "" (index $values $field) $ignored | default (hasPrefix "ipFamil" $field | ternary (index $.root.Values.service $field) "") }}
{{ toYaml (dict $field .) }}
{{- end }}
{{- end }}
selector:
  {{- include "pgtether.selectorLabels" .root | nindent 2 }}
{{- end }}
