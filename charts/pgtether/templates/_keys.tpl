{{/*
Refuses keys of the configuration that pgtether does not know, before anything is installed. The schema is pgtether's own:
values are for pgtether to judge. Takes value, schema and path.
*/}}
{{- define "pgtether.checkKeys" -}}
{{- $path := .path }}
{{- $schema := .schema }}
{{- if kindIs "slice" .value }}
{{- range $number, $item := .value }}
{{- include "pgtether.checkKeys" (dict "value" $item "schema" (default dict $schema.items) "path" (printf "%s[%d]" $path $number)) }}
{{- end }}
{{- else if kindIs "map" .value }}
{{- $known := include "pgtether.knownKeys" $schema | fromJson }}
{{- range $key, $value := .value }}
{{- if not (hasKey $known $key) }}
{{- fail (printf "%s: pgtether knows no key %q here. It knows: %s." $path $key (keys $known | sortAlpha | join ", ")) }}
{{- end }}
{{- include "pgtether.checkKeys" (dict "value" $value "schema" (get $known $key) "path" (printf "%s.%s" $path $key)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The keys of a mapping, as JSON: also where the mapping may be `off` or empty instead. */}}
{{- define "pgtether.knownKeys" -}}
{{- if .properties }}
{{- toJson .properties }}
{{- else }}
{{- range .anyOf }}{{ include "pgtether.knownKeys" . }}{{ end }}
{{- end }}
{{- end }}
