{{/* What a ServiceMonitor's and a PodMonitor's endpoint have in common. Takes {root, monitor}. */}}
{{- define "pgtether.endpoint" -}}
port: http
path: {{ .root.Values.web.telemetryPath }}
scheme: {{ include "pgtether.scheme" .root }}
{{- with .monitor.tlsConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.basicAuth }}
basicAuth:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.interval }}
interval: {{ . }}
{{- end }}
{{- with .monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .monitor.proxyUrl }}
proxyUrl: {{ . }}
{{- end }}
honorLabels: {{ .monitor.honorLabels }}
{{- with .monitor.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* And their specification beside the endpoint. Takes {root, monitor}. */}}
{{- define "pgtether.monitorSpec" -}}
{{- with .monitor.jobLabel }}
jobLabel: {{ . }}
{{- end }}
selector:
  matchLabels:
    {{- include "pgtether.selectorLabels" .root | nindent 4 }}
namespaceSelector:
  matchNames:
    - {{ include "pgtether.namespace" .root }}
{{- with .monitor.targetLabels }}
targetLabels:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.podTargetLabels }}
podTargetLabels:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.scrapeClass }}
scrapeClass: {{ . }}
{{- end }}
{{- range $limit := list "sampleLimit" "targetLimit" "labelLimit" "labelNameLengthLimit" "labelValueLengthLimit" "keepDroppedTargets" }}
{{- with index $.monitor $limit }}
{{ $limit }}: {{ int . }}
{{- end }}
{{- end }}
{{- with .monitor.bodySizeLimit }}
bodySizeLimit: {{ . }}
{{- end }}
{{- end }}
