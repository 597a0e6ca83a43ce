{{/* The name of the operator's objects: at most 49 characters. */}}
{{- define "clickstream.name" -}}
{{- $release := .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- $name := ternary $release (printf "%s-clickstream" ($release | trunc 28 | trimSuffix "-")) (contains "clickstream" $release) -}}
{{- printf "%s-operator" (.Values.fullnameOverride | default $name) -}}
{{- end }}

{{- define "clickstream.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "clickstream.name" .) -}}
{{- else -}}
{{- required "serviceAccount.create is off: name the account in serviceAccount.name" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "clickstream.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ $tag }}{{- end -}}
{{- end -}}
{{- end }}

{{/* By these its pods are found; they never change. */}}
{{- define "clickstream.selector" -}}
app.kubernetes.io/name: clickstream-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "clickstream.labels" -}}
{{ include "clickstream.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: clickstream
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}
