{{/* Refuses a mount of a volume that is not there. */}}
{{- define "pgtether.checkMounts" -}}
{{- $volumes := list "config" "secrets" "web" }}
{{- range tpl (toYaml .Values.extraVolumes) . | fromYamlArray }}
{{- $volumes = append $volumes .name }}
{{- end }}
{{- range tpl (toYaml .Values.extraVolumeMounts) . | fromYamlArray }}
{{- if not (has .name $volumes) }}
{{- fail (printf "extraVolumeMounts: there is no volume %q: add it to extraVolumes." (toString .name)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where pods run, and what they find there. */}}
{{- define "pgtether.placement" -}}
affinity:
  {{- if .Values.affinity }}
  {{- tpl (toYaml .Values.affinity) . | nindent 2 }}
  {{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "pgtether.selectorLabels" . | nindent 14 }}
  {{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $own := dict "labelSelector" (dict "matchLabels" (include "pgtether.selectorLabels" $ | fromYaml)) }}
  - {{ toYaml (hasKey . "labelSelector" | ternary . (mergeOverwrite (dict) $own .)) | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .Values.hostNetwork }}
{{- if .Values.networkPolicy.enabled }}
{{- fail "networkPolicy.enabled with hostNetwork: a NetworkPolicy has no effect on pods that use the node's network. Set one of them to false." }}
{{- end }}
hostNetwork: true
{{- end }}
{{- if and (eq .Values.dnsPolicy "None") (empty .Values.dnsConfig) }}
{{- fail "dnsPolicy=None leaves the pods without DNS servers: name them in dnsConfig, for example {nameservers: [192.0.2.53]}." }}
{{- end }}
{{- with default (ternary "ClusterFirstWithHostNet" "" .Values.hostNetwork) .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
