// Judges manifests by Kubernetes' own code, as its API server would: decoded strictly, given defaults, applied server-side,
// validated, admitted by Pod Security; and nothing may differ after the same is applied again.
//
// Usage: kubernetes [-restricted] [-from FOLDER] FILE...
//
// -restricted: all pods must meet that level of Pod Security. -from: what has the same file name, kind and name there was
// installed before and is upgraded.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	restricted := flag.Bool("restricted", false, "all pods must meet Pod Security's level restricted")
	from := flag.String("from", "", "folder of manifests to upgrade from")
	flag.Parse()
	server, err := newServer()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubernetes:", err)
		os.Exit(1)
	}
	judged, upgraded, failed := 0, 0, 0
	for _, path := range flag.Args() {
		before := map[string]manifest{}
		if *from != "" {
			before, err = read(filepath.Join(*from, filepath.Base(path)))
		}
		now, other := read(path)
		if err := errors.Join(err, other); err != nil {
			fmt.Printf("kubernetes: %s: %v\n", path, err)
			failed++
			continue
		}
		for name, wanted := range now {
			var installed *manifest
			if old, found := before[name]; found {
				installed = &old
				upgraded++
			}
			judged++
			if err := server.judge(wanted, installed, *restricted); err != nil {
				fmt.Printf("kubernetes: %s: %s: %v\n", path, name, err)
				failed++
			}
		}
	}
	fmt.Printf("kubernetes: %d resources, %d upgraded, %d invalid\n", judged, upgraded, failed)
	if failed > 0 || judged == 0 || (*from != "" && upgraded == 0) {
		os.Exit(1)
	}
}
