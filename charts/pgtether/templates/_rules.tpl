{{/*
The groups of files/dashboards/rules/pgtether.rules.yaml, with what values change in them. The file is the one that everybody uses
who has no operator, so thresholds are found in it as text; one that is not found fails the rendering.
*/}}
{{- define "pgtether.groups" -}}
{{- include "pgtether.checkThresholds" . }}
{{- $scope := include "pgtether.scope" . }}
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
{{- range $rule := $kept }}
{{- $_ := set $rule "expr" (include "pgtether.scoped" (list $rule.expr $scope)) }}
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

{{/* Refuses thresholds with which an alert could never fire, or would always; the schema refuses what is wrong alone. */}}
{{- define "pgtether.checkThresholds" -}}
{{- with .Values.prometheusRule.thresholds }}
{{- if le (float64 .certificateWarningDays) (float64 .certificateCriticalDays) }}
{{- fail (printf "prometheusRule.thresholds: certificateWarningDays (%v) must be more than certificateCriticalDays (%v): the warning would never come before the critical alert." .certificateWarningDays .certificateCriticalDays) }}
{{- end }}
{{- end }}
{{- end }}

{{/*
The labels that the metrics of this release have and those of others have not, as in a selector: `namespace="databases",
job="pgtether"`. Empty if the chart does not tell Prometheus to scrape, because then they are not known.
*/}}
{{- define "pgtether.scope" -}}
{{- $labels := .Values.prometheusRule.selector }}
{{- $monitor := ternary .Values.serviceMonitor .Values.podMonitor .Values.serviceMonitor.enabled }}
{{- if and (not $labels) $monitor.enabled }}
{{- range concat $monitor.relabelings $monitor.metricRelabelings }}
{{- if has .targetLabel (list "namespace" "job") }}
{{- fail (printf "a relabeling changes the label %s, so the chart does not know which metrics are of this release: set prometheusRule.selector to the labels that they have, for example {namespace: %s, job: pgtether}." .targetLabel (include "pgtether.namespace" $)) }}
{{- end }}
{{- end }}
{{- $labels = dict "namespace" (include "pgtether.namespace" .) "job" (include "pgtether.job" .) }}
{{- end }}
{{- $matchers := list }}
{{- range $name, $value := $labels }}
{{- $matchers = append $matchers (printf "%s=%s" $name (toJson $value)) }}
{{- end }}
{{- join "," $matchers }}
{{- end }}

{{/* The job's name, as the operator makes it from a ServiceMonitor or PodMonitor. */}}
{{- define "pgtether.job" -}}
{{- $monitor := ternary .Values.serviceMonitor .Values.podMonitor .Values.serviceMonitor.enabled }}
{{- $job := include "pgtether.fullname" . }}
{{- $labels := include "pgtether.labels" (dict "root" . "extra" .Values.service.labels) | fromYaml }}
{{- if not .Values.serviceMonitor.enabled }}
{{- $job = printf "%s/%s" (default (include "pgtether.namespace" .) $monitor.namespace) $job }}
{{- $labels = include "pgtether.stableLabels" (dict "root" . "extra" .Values.podLabels) | fromYaml }}
{{- end }}
{{- default $job (index $labels $monitor.jobLabel) }}
{{- end }}

{{/*
Limits every selector of an expression to what `scope` says. Takes [expression, scope]. A metric is followed by a brace, or by
something that no name contains.
*/}}
{{- define "pgtether.scoped" -}}
{{- $expr := index . 0 }}
{{- with index . 1 | replace "$" "$$" }}
{{- $metric := "\\b(?:target:)?pgtether_[a-z0-9_:]+|\\bALERTS|\\bup" }}
{{- $expr = regexReplaceAll (printf "(%s)\\{" $metric) $expr (printf "${1}{%s," .) }}
{{- $expr = regexReplaceAll (printf "(%s)([^a-z0-9_:{]|$)" $metric) $expr (printf "${1}{%s}${2}" .) }}
{{- end }}
{{- $expr }}
{{- end }}

{{/* The inhibition rules for Alertmanager, with the words that values have for the severities. */}}
{{- define "pgtether.inhibitions" -}}
{{- $rules := .Files.Get "files/dashboards/rules/alertmanager-inhibit.yml" }}
{{- range $severity, $_ := .Values.prometheusRule.severities }}
{{- $found := printf "severity = %q" $severity }}
{{- if not (contains $found $rules) }}
{{- fail (printf "alertmanager-inhibit.yml has no %s: rules and chart do not belong together." $found) }}
{{- end }}
{{- $rules = replace $found (printf "severity = %%%s%%" $severity) $rules }}
{{- end }}
{{- range $severity, $word := .Values.prometheusRule.severities }}
{{- $rules = replace (printf "%%%s%%" $severity) (toJson $word | replace "'" "''") $rules }}
{{- end }}
{{- trim $rules }}
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
