{{/*
The groups of files/dashboards/rules/pgtether.rules.yaml, with what values change in them. The file is the one that everybody uses
who has no operator, so thresholds are found in it as text; one that is not found fails the rendering.
*/}}
{{- define "pgtether.groups" -}}
{{- $rules := .Files.Get "files/dashboards/rules/pgtether.rules.yaml" | fromYaml }}
{{- $swaps := include "pgtether.thresholds" . | fromYamlArray }}
{{- $known := dict }}
{{- $groups := list }}
{{- range $group := $rules.groups }}
{{- $kept := list }}
{{- range $rule := $group.rules }}
{{- $change := dict }}
{{- with $rule.alert }}
{{- $_ := set $known . true }}
{{- $change = default (dict) (index $.Values.prometheusRule.alerts .) }}
{{- include "pgtether.changeAlert" (dict "values" $.Values.prometheusRule "rule" $rule "change" $change "swaps" $swaps) }}
{{- end }}
{{- if ne (toString $change.enabled) "false" }}
{{- $kept = append $kept $rule }}
{{- end }}
{{- end }}
{{- if $kept }}
{{- $groups = append $groups (set $group "rules" $kept) }}
{{- end }}
{{- end }}
{{- range $name, $_ := .Values.prometheusRule.alerts }}
{{- if not (hasKey $known $name) }}
{{- fail (printf "prometheusRule.alerts: there is no alert %q. There are: %s." $name (keys $known | sortAlpha | join ", ")) }}
{{- end }}
{{- end }}
{{- range $swap := $swaps }}
{{- if not (contains $swap.put (toJson $groups | fromJsonArray | toString)) }}
{{- $disabled := index (default (dict) (index $.Values.prometheusRule.alerts $swap.alert)) "enabled" | toString | eq "false" }}
{{- if not $disabled }}
{{- fail (printf "the rule %s has no %q to put a threshold in: rules and chart do not belong together." $swap.alert $swap.find) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $groups }}
{{- end }}

{{/* What stands in the rules for each threshold, and what takes its place. */}}
{{- define "pgtether.thresholds" -}}
{{- with .Values.prometheusRule.thresholds }}
- {alert: PgtetherErrorBudgetBurn, find: "(1 - 0.999)", put: "(1 - {{ .availability }})"}
- {alert: PgtetherErrorBudgetBurn, find: "(99.9 %)", put: "({{ mulf .availability 100 | printf "%.6g" }} %)"}
- {alert: PgtetherFlapping, find: ">= 5", put: ">= {{ .reconnects }}"}
- {alert: PgtetherRefreshStale, find: "> 3 * pgtether", put: "> {{ .refreshPeriods }} * pgtether"}
- {alert: PgtetherRefreshStale, find: "for three refresh periods", put: "for {{ .refreshPeriods }} refresh periods"}
- {alert: PgtetherPingSlow, find: "> 0.5", put: "> {{ .pingSeconds }}"}
- {alert: PgtetherPoolWaiting, find: "> 0.5", put: "> {{ .poolWaitSeconds }}"}
- {alert: PgtetherCertificateExpiring, find: "< 14 * 86400", put: "< {{ .certificateWarningDays }} * 86400"}
- {alert: PgtetherCertificateExpiring, find: "within 14 days", put: "within {{ .certificateWarningDays }} days"}
- {alert: PgtetherCertificateExpiring, find: "< 3 * 86400", put: "< {{ .certificateCriticalDays }} * 86400"}
- {alert: PgtetherCertificateExpiring, find: "within 3 days", put: "within {{ .certificateCriticalDays }} days"}
{{- end }}
{{- end }}

{{/* Changes one alert in place. Takes {values, rule, change, swaps}. */}}
{{- define "pgtether.changeAlert" -}}
{{- $rule := .rule }}
{{- $notes := $rule.annotations }}
{{- with .change.for }}
{{- $_ := set $notes "description" (regexReplaceAll "for \\d+ minutes or more" $notes.description (printf "for %s or more" .)) }}
{{- $_ := set $rule "for" . }}
{{- end }}
{{- range $swap := .swaps }}
{{- if eq $swap.alert $rule.alert }}
{{- $_ := set $rule "expr" ($rule.expr | replace $swap.find $swap.put) }}
{{- range list "summary" "description" }}
{{- $_ := set $notes . (index $notes . | replace $swap.find $swap.put) }}
{{- end }}
{{- end }}
{{- end }}
{{- $labels := mergeOverwrite $rule.labels .values.alertLabels }}
{{- $_ := set $labels "severity" (default $labels.severity (index .values.severities $labels.severity)) }}
{{- with .values.runbookUrl }}
{{- $_ := set $notes "runbook_url" (printf "%s/%s" (trimSuffix "/" .) (base $notes.runbook_url)) }}
{{- end }}
{{- if .values.grafanaUrl }}
{{- $_ := set $notes "dashboard_url" (regexReplaceAll "^https?://[^/]+" $notes.dashboard_url (trimSuffix "/" .values.grafanaUrl)) }}
{{- else }}
{{- $_ := unset $notes "dashboard_url" }}
{{- end }}
{{- end }}
