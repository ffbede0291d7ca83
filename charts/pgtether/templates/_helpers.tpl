{{/* Names */}}

{{- define "pgtether.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "pgtether.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $own := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $own .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* A name that derives from the full one, within Kubernetes' 63 characters. Takes [root, suffix]. */}}
{{- define "pgtether.derived" -}}
{{- $suffix := index . 1 }}
{{- $room := sub 62 (len $suffix) | int }}
{{- printf "%s-%s" (include "pgtether.fullname" (index . 0) | trunc $room | trimSuffix "-") $suffix }}
{{- end }}

{{- define "pgtether.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "pgtether.serviceAccountName" -}}
{{- default (ternary (include "pgtether.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{/* Labels and annotations */}}

{{- define "pgtether.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pgtether.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The pod of `helm test` has a name of its own: the Service must not take it for a pgtether. */}}
{{- define "pgtether.testLabels" -}}
app.kubernetes.io/name: {{ printf "%s-test" (include "pgtether.name" . | trunc 58) }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of a resource: its own beat yours for all, but for those that select. Takes {root, extra, selector}. */}}
{{- define "pgtether.labels" -}}
{{- $chart := printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- $own := dict "helm.sh/chart" $chart "app.kubernetes.io/version" (.root.Chart.AppVersion | replace "+" "_") }}
{{- mergeOverwrite $own (include "pgtether.stableLabels" . | fromYaml) | toYaml }}
{{- end }}

{{/*
Those that no new version of the chart changes. Pods have these: a Deployment replaces its pods when their labels change, and
with a pod its clients lose their connections. Takes the same.
*/}}
{{- define "pgtether.stableLabels" -}}
{{- $selector := default (include "pgtether.selectorLabels" .root) .selector | fromYaml }}
{{- $own := dict "app.kubernetes.io/managed-by" .root.Release.Service }}
{{- mergeOverwrite $own .root.Values.commonLabels (default (dict) .extra) $selector | toYaml }}
{{- end }}

{{/* Metadata of a resource. Takes {root, and where they differ: name, namespace, labels, annotations}. */}}
{{- define "pgtether.metadata" -}}
name: {{ default (include "pgtether.fullname" .root) .name }}
namespace: {{ default (include "pgtether.namespace" .root) .namespace }}
labels:
  {{- include "pgtether.labels" (dict "root" .root "extra" .labels) | nindent 2 }}
{{- with mergeOverwrite (dict) .root.Values.commonAnnotations (default (dict) .annotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Images */}}

{{/* Takes {root, image, tag}: tag is what holds where the image names none. */}}
{{- define "pgtether.image" -}}
{{- $registry := default .image.registry .root.Values.global.imageRegistry }}
{{- $name := empty $registry | ternary .image.repository (printf "%s/%s" $registry .image.repository) }}
{{- if .image.digest }}
{{- printf "%s@%s" $name .image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default .tag .image.tag) }}
{{- end }}
{{- end }}

{{/* Pull secrets of all charts and of this one, as a list; empty if there are none. */}}
{{- define "pgtether.pullSecrets" -}}
{{- $secrets := list }}
{{- range concat .Values.global.imagePullSecrets .Values.image.pullSecrets }}
{{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) }}
{{- end }}
{{- with uniq $secrets }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* What the cluster can do */}}

{{- define "pgtether.kubeVersion" -}}
{{- default .Capabilities.KubeVersion.Version .Values.kubeVersionOverride }}
{{- end }}

{{/* Refuses what the cluster has no definition of. Takes {root, value, whose, api}: value names what was asked for. */}}
{{- define "pgtether.need" -}}
{{- if not (.root.Capabilities.APIVersions.Has .api) }}
{{- fail (printf "%s.enabled needs %s definitions (%s), which this cluster does not have: install them first, or set %s.enabled=false. Where the cluster cannot be asked, say --api-versions=%s." .value .whose .api .value .api) }}
{{- end }}
{{- end }}

{{- define "pgtether.needOperator" -}}
{{- include "pgtether.need" (mergeOverwrite (dict "whose" "the Prometheus operator's" "api" "monitoring.coreos.com/v1") .) }}
{{- end }}

{{/* How a pod ends */}}

{{/* Seconds of sleep before the signal; 0 where Kubernetes cannot sleep without a shell. */}}
{{- define "pgtether.preStopSleep" -}}
{{- semverCompare ">=1.30.0-0" (include "pgtether.kubeVersion" .) | ternary .Values.preStopSleepSeconds 0 | int }}
{{- end }}

{{/* Seconds in which pgtether drains. Clients of pools get 10 of them; a configuration of yours may have pools. */}}
{{- define "pgtether.drain" -}}
{{- $pools := include "pgtether.configIsYours" . }}
{{- range .Values.config.targets }}
{{- if .pool }}{{ $pools = "yes" }}{{ end }}
{{- end }}
{{- empty $pools | ternary 3 13 }}
{{- end }}

{{/* Seconds until the pod is killed: the sleep and the drain, with 5 s to spare. */}}
{{- define "pgtether.gracePeriod" -}}
{{- $needed := include "pgtether.preStopSleep" . | int | add (include "pgtether.drain" . | int) }}
{{- $given := .Values.terminationGracePeriodSeconds }}
{{- if kindIs "invalid" $given }}
{{- add $needed 5 }}
{{- else if lt (int $given) (int $needed) }}
{{- fail (printf "terminationGracePeriodSeconds is %d, but preStopSleepSeconds and the %s s in which pgtether drains need %d." (int $given) (include "pgtether.drain" .) (int $needed)) }}
{{- else }}
{{- int $given }}
{{- end }}
{{- end }}
