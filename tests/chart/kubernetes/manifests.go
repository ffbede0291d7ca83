package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// A manifest as it is sent to the API server, and the text that it came from.
type manifest struct {
	object *unstructured.Unstructured
	data   []byte
}

// read returns what a file has of Kubernetes' own kinds, by kind and name. Two of one name are an error.
func read(path string) (map[string]manifest, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found := map[string]manifest{}
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		data, err := yaml.YAMLToJSONStrict(document)
		if err != nil {
			return nil, err
		}
		if string(data) == "null" {
			continue
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(data); err != nil {
			return nil, err
		}
		if custom(object.GroupVersionKind().Group) {
			continue
		}
		if object.GetNamespace() == "" {
			// helm has one by its flag.
			object.SetNamespace("databases")
		}
		name := fmt.Sprintf("%s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName())
		if _, twice := found[name]; twice {
			return nil, fmt.Errorf("%s is there twice", name)
		}
		found[name] = manifest{object, data}
	}
	return found, nil
}

// custom tells groups that a cluster has by definitions.
func custom(group string) bool {
	builtIn := map[string]bool{"networking.k8s.io": true}
	return strings.Contains(group, ".") && !builtIn[group]
}
