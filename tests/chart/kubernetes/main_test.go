package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const aDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: a, labels: {a: b}}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: a
          image: a:1
          ports: [{name: http, containerPort: 80}]
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`

const aService = `
apiVersion: v1
kind: Service
metadata: {name: a}
spec:
  selector: {a: b}
  ports: [{name: http, port: 80}, {name: health, port: 81}]
`

// one writes the text to a file and reads what is in it.
func one(t *testing.T, text string) manifest {
	t.Helper()
	path := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := read(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 {
		t.Fatalf("%d manifests", len(found))
	}
	for _, it := range found {
		return it
	}
	panic("unreachable")
}

func judged(t *testing.T, text, before string) string {
	t.Helper()
	server, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	var installed *manifest
	if before != "" {
		it := one(t, before)
		installed = &it
	}
	if err := server.judge(one(t, text), installed, true); err != nil {
		return err.Error()
	}
	return ""
}

func TestWhatIsRightIsTaken(t *testing.T) {
	for _, text := range []string{aDeployment, aService} {
		if said := judged(t, text, ""); said != "" {
			t.Error(said)
		}
	}
	if said := judged(t, strings.Replace(aDeployment, "image: a:1", "image: a:2", 1), aDeployment); said != "" {
		t.Error(said)
	}
}

func TestWhatIsWrongIsRefused(t *testing.T) {
	for _, it := range []struct{ from, find, put, before, wanted string }{
		{aDeployment, "containerPort: 80}]", "containerPort: 80}, {name: pool, containerPort: 80}]", "", "duplicate entries for key"},
		{aDeployment, "image: a:1", "imagge: a:1", "", "unknown field"},
		{aDeployment, "image: a:1", "", "", "image: Required value"},
		{aDeployment, "name: http", "name: a-name-of-more-than-15", "", "must be no more than 15 characters"},
		{aDeployment, "{a: b}}\n  template", "{a: c}}\n  template", "", "`selector` does not match template `labels`"},
		{aDeployment, "{a: b", "{a: c", aDeployment, "field is immutable"},
		{aDeployment, "securityContext: {runAsNonRoot", "hostNetwork: true\n      securityContext: {runAsNonRoot", "", "Pod Security, restricted: host namespaces"},
		{aDeployment, "drop: [ALL]", "drop: []", "", "unrestricted capabilities"},
		{aService, "port: 81", "port: 80", "", "port"},
		{aService, "selector:", "sessionAffinity: Client\n  selector:", "", "sessionAffinity"},
		{aService, "selector:", "clusterIP: None\n  sessionAffinity: ClientIP\n  selector:", "", "ignored for headless"},
		{aService, "selector:", "loadBalancerClass: a.example.com/b\n  selector:", "", "loadBalancerClass"},
		{aService, "kind: Service", "kind: Lease", "", "not known here"},
	} {
		changed := strings.ReplaceAll(it.from, it.find, it.put)
		if changed == it.from {
			t.Errorf("%s is not there", it.find)
		}
		if said := judged(t, changed, it.before); !strings.Contains(said, it.wanted) {
			t.Errorf("%s: wanted %q, was told %q", it.put, it.wanted, said)
		}
	}
}
