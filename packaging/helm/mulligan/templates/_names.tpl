{{- define "mulligan.fullname" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "mulligan.labels" -}}
app.kubernetes.io/name: mulligan
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "mulligan.selector" -}}
app.kubernetes.io/name: mulligan
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end -}}

{{/* What must be given is asked for here, in words. */}}
{{- define "mulligan.check" -}}
{{- $_ := required "region is not set: a name of lower-case letters, digits and dashes, which never changes" .Values.region -}}
{{- $_ := required "existingSecret is not set: the Secret with ca.pem, service.pem, service.key and secrets.key" .Values.existingSecret -}}
{{- $_ := required "postgres.existingSecret is not set: the Secret with the key dsn" .Values.postgres.existingSecret -}}
{{- $_ := required "archive.location is not set: the URL of object storage that every archiver reaches, such as s3://bucket/prefix" .Values.archive.location -}}
{{- if not .Values.etcd.endpoints -}}
{{- fail "etcd.endpoints is empty: give host:port of every member" -}}
{{- end -}}
{{- end -}}
