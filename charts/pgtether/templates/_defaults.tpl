{{/*
Helm takes out of the values what users set to null. Here it gets its default again, from values.yaml, so that no template has
to ask. Every template includes this first, because none knows which one is rendered first.
*/}}
{{- define "pgtether.defaults" -}}
{{- $defaults := .Files.Get "files/values.yaml" | fromYaml }}
{{- $optional := include "pgtether.optional" . | fromYamlArray }}
{{- include "pgtether.fill" (dict "values" .Values "defaults" $defaults "path" "" "optional" $optional) }}
{{- end }}

{{/* What null leaves out of the manifests: fields for which Kubernetes has a default, or something else sets a value. */}}
{{- define "pgtether.optional" -}}
[replicas, revisionHistoryLimit, strategy.rollingUpdate, startupProbe, livenessProbe, readinessProbe, resources,
podSecurityContext, securityContext, topologySpreadConstraints, podDisruptionBudget.maxUnavailable,
podDisruptionBudget.unhealthyPodEvictionPolicy]
{{- end }}

{{/* Adds in place what `values` lack. Takes {values, defaults, path, optional}. */}}
{{- define "pgtether.fill" -}}
{{- $values := .values }}
{{- $path := .path }}
{{- $optional := .optional }}
{{- range $key, $default := .defaults }}
{{- $here := printf "%s.%s" $path $key | trimPrefix "." }}
{{- if not (has $here $optional) }}
{{- $value := index $values $key }}
{{- if kindIs "invalid" $value }}
{{- $_ := set $values $key $default }}
{{- else if and (kindIs "map" $value) (kindIs "map" $default) }}
{{- include "pgtether.fill" (dict "values" $value "defaults" $default "path" $here "optional" $optional) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
