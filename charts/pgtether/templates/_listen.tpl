{{/* Where pools listen. What pgtether would refuse at its start is refused here, before anything is installed. */}}

{{/*
The listen address of a target's pool, as JSON: {host, port, local}. Empty if there is none, if it is a Unix socket, or a variable,
whose value is not known here. Takes [root, target].
*/}}
{{- define "pgtether.listen" -}}
{{- $root := index . 0 }}
{{- $target := index . 1 }}
{{- $found := dict }}
{{- with $target.pool }}
{{- $listen := tpl (default "" .listen | toString) $root | trim }}
{{- if not $listen }}
{{- fail (printf "config.targets: the pool of target %q does not say where to listen: set its listen, for example to \"0.0.0.0:6432\"." $target.name) }}
{{- end }}
{{- $ip := "[0-9]+([.][0-9]+){3}|\\[[0-9a-fA-F:.]+\\]" }}
{{- if regexMatch (printf "^(localhost|%s):[1-9][0-9]{0,4}$" $ip) $listen }}
{{- $host := regexReplaceAll ":[0-9]+$" $listen "" | replace "localhost" "127.0.0.1" | lower }}
{{- $loopback := "127[.].*|\\[[0:]*:0{0,3}1\\]|\\[[0:]*:ffff:(127[.].*|7f[0-9a-f]{2}:[0-9a-f]{1,4})\\]" }}
{{- $found = dict "host" $host "port" (regexFind "[0-9]+$" $listen | int) "local" (regexMatch (printf "^(%s)$" $loopback) $host) }}
{{- else if not (regexMatch "^unix:/|[$][{]" $listen) }}
{{- fail (printf "config.targets: the pool of target %q listens on %q, but pgtether needs an IP address and a port, such as \"0.0.0.0:6432\" for other pods or 127.0.0.1:6432 for this pod, or unix:/PATH." $target.name $listen) }}
{{- end }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{/* Refuses a pool whose port is in use. Takes [root, target]. */}}
{{- define "pgtether.checkListen" -}}
{{- $root := index . 0 }}
{{- $target := index . 1 }}
{{- with include "pgtether.listen" . | fromJson }}
{{- $pool := . }}
{{- if gt (int .port) 65535 }}
{{- fail (printf "config.targets: the pool of target %q listens on port %d: use 1 to 65535." $target.name (int .port)) }}
{{- end }}
{{- range $key := list "port" "healthPort" }}
{{- if eq (int (index $root.Values.web $key)) (int $pool.port) }}
{{- fail (printf "config.targets: the pool of target %q listens on port %d, which is web.%s: change one of them." $target.name (int $pool.port) $key) }}
{{- end }}
{{- end }}
{{- range $root.Values.config.targets }}
{{- $other := include "pgtether.listen" (list $root .) | fromJson }}
{{- if and (ne .name $target.name) $other (eq (int (default 0 $other.port)) (int $pool.port)) (include "pgtether.overlap" (list $pool.host $other.host)) }}
{{- fail (printf "config.targets: the pools of targets %q and %q both listen on port %d: change one of them." $target.name .name (int $pool.port)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Not empty if listeners at both addresses would get in each other's way: `[::]` takes IPv4, too. */}}
{{- define "pgtether.overlap" -}}
{{- $six := "^\\[[0:]+\\]$" }}
{{- $one := index . 0 }}
{{- $other := index . 1 }}
{{- $four := and (contains "." $one) (contains "." $other) (has "0.0.0.0" .) }}
{{- if or (eq $one $other) $four (regexMatch $six $one) (regexMatch $six $other) }}yes{{ end }}
{{- end }}

{{/* Ports of the pools that other pods may reach, as a list. */}}
{{- define "pgtether.poolPorts" -}}
{{- $ports := list }}
{{- range .Values.config.targets }}
{{- $listen := include "pgtether.listen" (list $ .) | fromJson }}
{{- if and $listen (not $listen.local) }}
{{- $ports = append $ports (int $listen.port) }}
{{- end }}
{{- end }}
{{- toYaml (uniq $ports) }}
{{- end }}
