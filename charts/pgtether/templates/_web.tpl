{{/*
The web config file: TLS, users and response headers of pgtether's own port. One folder holds it and the certificate.
*/}}

{{- define "pgtether.webFolder" -}}
/etc/pgtether-web
{{- end }}

{{- define "pgtether.webName" -}}
{{- with .Values.web.existingConfig.secret }}
{{- tpl . $ }}
{{- else }}
{{- include "pgtether.derived" (list . "web") }}
{{- end }}
{{- end }}

{{/* The file that the chart makes; empty where there is none. */}}
{{- define "pgtether.webConfig" -}}
{{- if not .Values.web.existingConfig.secret }}
{{- $config := deepCopy .Values.web.config }}
{{- if .Values.web.tlsSecret }}
{{- $own := dict "cert_file" "tls.crt" "key_file" "tls.key" }}
{{- $_ := set $config "tls_server_config" (mergeOverwrite $own (default (dict) $config.tls_server_config)) }}
{{- end }}
{{- if $config }}
{{- tpl (toYaml $config) . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Not empty where there is a file, whoever made it. */}}
{{- define "pgtether.webIsConfigured" -}}
{{- .Values.web.existingConfig.secret }}{{ include "pgtether.webConfig" . }}
{{- end }}

{{- define "pgtether.scheme" -}}
{{- if .Values.web.existingConfig.secret }}
{{- ternary "https" "http" .Values.web.existingConfig.tls }}
{{- else }}
{{- hasKey (include "pgtether.webConfig" . | fromYaml) "tls_server_config" | ternary "https" "http" }}
{{- end }}
{{- end }}

{{/* Where those ask who have no certificate: name of the port, and its scheme. */}}
{{- define "pgtether.healthPort" -}}
{{- empty .Values.web.healthPort | ternary "http" "health" }}
{{- end }}

{{- define "pgtether.healthScheme" -}}
{{- empty .Values.web.healthPort | ternary (include "pgtether.scheme" .) "http" }}
{{- end }}

{{/* Refuses what would leave pods that nobody can ask. */}}
{{- define "pgtether.checkWeb" -}}
{{- $web := .Values.web }}
{{- if and $web.existingConfig.secret (or $web.config $web.tlsSecret) }}
{{- fail "web.existingConfig is set beside web.config or web.tlsSecret: keep the web config file in one place." }}
{{- end }}
{{- $config := include "pgtether.webConfig" . | fromYaml }}
{{- $policy := dig "tls_server_config" "client_auth_type" "" $config }}
{{- if and (has $policy (list "RequireAnyClientCert" "RequireAndVerifyClientCert")) (empty $web.healthPort) }}
{{- fail (printf "web.config demands client certificates (%s), which Kubernetes' probes do not have: set web.healthPort, for example to 10433." $policy) }}
{{- end }}
{{- if eq (toString $web.healthPort) (toString $web.port) }}
{{- fail "web.healthPort and web.port are the same: use two." }}
{{- end }}
{{- if eq (toString $web.healthPort) (toString .Values.service.port) }}
{{- fail "web.healthPort and service.port are the same, but the Service has both: use two." }}
{{- end }}
{{- range $monitor := list "serviceMonitor" "podMonitor" }}
{{- $values := index $.Values $monitor }}
{{- if and $values.enabled $config.basic_auth_users (empty $values.basicAuth) }}
{{- fail (printf "web.config has users, so Prometheus would be refused: set %s.basicAuth." $monitor) }}
{{- end }}
{{- end }}
{{- end }}

{{/* One probe's question. Takes {root, path}. */}}
{{- define "pgtether.ask" -}}
httpGet:
  path: {{ .path }}
  port: {{ include "pgtether.healthPort" .root }}
  scheme: {{ include "pgtether.healthScheme" .root | upper }}
{{- end }}
