{{/*
pgtether's configuration. What belongs to the chart alone (urlFromSecret, urlFileFromSecret, passwordFromSecret) becomes
a variable of the environment or a mounted file here, and nothing of it is left in the file.
*/}}

{{- define "pgtether.configName" -}}
{{- if .Values.existingConfig.secret }}
{{- tpl .Values.existingConfig.secret . }}
{{- else if .Values.existingConfig.configMap }}
{{- tpl .Values.existingConfig.configMap . }}
{{- else }}
{{- include "pgtether.fullname" . }}
{{- end }}
{{- end }}

{{- define "pgtether.configKind" -}}
{{- if .Values.existingConfig.secret -}} Secret
{{- else if .Values.existingConfig.configMap -}} ConfigMap
{{- else -}} {{ .Values.configKind }}
{{- end }}
{{- end }}

{{/* Not empty where you keep the configuration yourself. */}}
{{- define "pgtether.configIsYours" -}}
{{- with .Values.existingConfig }}{{ .secret }}{{ .configMap }}{{ end }}
{{- end }}

{{/* Refuses what cannot be meant. */}}
{{- define "pgtether.checkConfig" -}}
{{- $existing := .Values.existingConfig }}
{{- if and $existing.secret $existing.configMap }}
{{- fail "existingConfig names both a secret and a configMap: set one of them." }}
{{- end }}
{{- if include "pgtether.configIsYours" . }}
{{- if .Values.config.targets }}
{{- fail "both existingConfig and config.targets are set: name the targets in one place." }}
{{- end }}
{{- else if not .Values.config.targets }}
{{- fail "no database is named: set config.targets, for example --set config.targets[0].name=primary --set config.targets[0].urlFileFromSecret.name=SECRET --set config.targets[0].urlFileFromSecret.key=KEY, or let existingConfig name a Secret or ConfigMap that holds a whole configuration." }}
{{- end }}
{{- $names := list }}
{{- $variables := dict }}
{{- range .Values.config.targets }}
{{- if has .name $names }}
{{- fail (printf "config.targets: two targets are named %q." .name) }}
{{- end }}
{{- if .urlFromSecret }}
{{- $variable := include "pgtether.urlVariable" .name }}
{{- if hasKey $variables $variable }}
{{- fail (printf "config.targets: %q and %q would share the variable %s: use urlFileFromSecret for one of them." (get $variables $variable) .name $variable) }}
{{- end }}
{{- $_ := set $variables $variable .name }}
{{- end }}
{{- $names = append $names .name }}
{{- include "pgtether.checkTarget" (list $ .) }}
{{- end }}
{{- if not (include "pgtether.configIsYours" .) }}
{{- $schema := .Files.Get "files/config.schema.json" | fromJson }}
{{- include "pgtether.checkKeys" (dict "value" (include "pgtether.config" . | fromYaml) "schema" $schema "path" "config") }}
{{- end }}
{{- end }}

{{- define "pgtether.checkTarget" -}}
{{- $root := index . 0 }}
{{- $target := index . 1 }}
{{- $places := list }}
{{- range list "url" "url_file" "urlFromSecret" "urlFileFromSecret" }}
{{- if hasKey $target . }}{{ $places = append $places . }}{{ end }}
{{- end }}
{{- if ne (len $places) 1 }}
{{- fail (printf "config.targets: target %q needs exactly one of url, url_file, urlFromSecret and urlFileFromSecret, and has %s." $target.name (empty $places | ternary "none" (join " and " $places))) }}
{{- end }}
{{- if and (hasKey $target "password_file") (hasKey $target "passwordFromSecret") }}
{{- fail (printf "config.targets: target %q has both password_file and passwordFromSecret: set one of them." $target.name) }}
{{- end }}
{{- with $target.pool }}
{{- include "pgtether.checkListen" (list $root $target) }}
{{- if and (hasKey . "tls") (hasKey . "tlsFromSecret") }}
{{- fail (printf "config.targets: the pool of target %q has both tls and tlsFromSecret: set one of them." $target.name) }}
{{- end }}
{{- end }}
{{- if and (eq $root.Values.configKind "ConfigMap") (include "pgtether.showsPassword" (tpl (toString $target.url) $root)) }}
{{- fail (printf "config.targets: the url of target %q holds a password, which a ConfigMap would show to everybody: use urlFileFromSecret or passwordFromSecret, or set configKind=Secret." $target.name) }}
{{- end }}
{{- end }}

{{/*
Not empty if a connection string holds a password, as pgtether reads it: `${NAME}` is a variable, whose value is not shown, and any
other `$` a character, so that of `$${NAME}` a `$` is left. A variable becomes a control character here, its default becomes text.
*/}}
{{- define "pgtether.showsPassword" -}}
{{- $url := regexReplaceAll "[$][{][A-Za-z_][A-Za-z0-9_]*(:-)?[}]" . "\x01" }}
{{- $url = regexReplaceAll "[$][{][A-Za-z_][A-Za-z0-9_]*:-([^}]*)[}]" $url "${1}" }}
{{- if regexMatch "^[a-z]+://[^/@:]*:[^/@]*[^/@\x01][^/@]*@" $url }}in the URI{{ end }}
{{- if regexMatch "(^|[\\s?&])password\\s*=\\s*('\x01*[^'\x01]|\x01*[^\\s&'\x01])" $url }}as a parameter{{ end }}
{{- end }}

{{/* Where a target's secrets are mounted. */}}
{{- define "pgtether.secretsFolder" -}}
/etc/pgtether-secrets
{{- end }}

{{/*
The variable that holds a target's connection string. By name: a pod whose file is new already and whose environment is
still old must not take one target's address for another's.
*/}}
{{- define "pgtether.urlVariable" -}}
{{- printf "TARGET_%s_URL" (regexReplaceAll "[^A-Z0-9]" (upper .) "_") }}
{{- end }}

{{/* config.yaml */}}
{{- define "pgtether.config" -}}
{{- $secrets := include "pgtether.secretsFolder" . }}
{{- $targets := list }}
{{- range $given := .Values.config.targets }}
{{- $target := omit $given "urlFromSecret" "urlFileFromSecret" "passwordFromSecret" }}
{{- if hasKey $given "urlFromSecret" }}
{{- $_ := set $target "url" (printf "${%s}" (include "pgtether.urlVariable" $given.name)) }}
{{- end }}
{{- if hasKey $given "urlFileFromSecret" }}
{{- $_ := set $target "url_file" (printf "%s/%s/url" $secrets $given.name) }}
{{- end }}
{{- if hasKey $given "passwordFromSecret" }}
{{- $_ := set $target "password_file" (printf "%s/%s/password" $secrets $given.name) }}
{{- end }}
{{- if get (default (dict) $given.pool) "tlsFromSecret" }}
{{- $files := dict "cert_file" (printf "%s/%s/tls.crt" $secrets $given.name) "key_file" (printf "%s/%s/tls.key" $secrets $given.name) }}
{{- $_ := set $target "pool" (set (omit $given.pool "tlsFromSecret") "tls" $files) }}
{{- end }}
{{- $targets = append $targets $target }}
{{- end }}
{{- $config := dict "service" .Values.config.service "targets" $targets }}
{{- with .Values.config.fleet }}{{ $_ := set $config "fleet" . }}{{ end }}
{{- with .Values.config.defaults }}{{ $_ := set $config "defaults" . }}{{ end }}
{{- tpl (toYaml $config) . }}
{{- end }}

{{/* Variables of the environment for connection strings. */}}
{{- define "pgtether.urlEnv" -}}
{{- range $target := .Values.config.targets }}
{{- with $target.urlFromSecret }}
- name: {{ include "pgtether.urlVariable" $target.name }}
  valueFrom:
    secretKeyRef:
      name: {{ tpl .name $ | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Sources of the volume with the mounted secrets. */}}
{{- define "pgtether.secretSources" -}}
{{- range $target := .Values.config.targets }}
{{- range $key, $file := dict "urlFileFromSecret" "url" "passwordFromSecret" "password" }}
{{- with index $target $key }}
- secret:
    name: {{ tpl .name $ | quote }}
    items:
      - key: {{ .key | quote }}
        path: {{ printf "%s/%s" $target.name $file | quote }}
{{- end }}
{{- end }}
{{- with get (default (dict) $target.pool) "tlsFromSecret" }}
- secret:
    name: {{ tpl . $ | quote }}
    items:
      - key: tls.crt
        path: {{ printf "%s/tls.crt" $target.name | quote }}
      - key: tls.key
        path: {{ printf "%s/tls.key" $target.name | quote }}
{{- end }}
{{- end }}
{{- end }}
