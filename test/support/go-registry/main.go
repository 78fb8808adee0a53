// Command go-registry serves go-containerregistry's registry with the referrers API, which `crane registry serve` has no
// flag for: go-registry ADDRESS FOLDER. Blobs are kept in the folder, manifests in memory.
package main

import (
	"log"
	"net"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: go-registry ADDRESS FOLDER")
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	handler := registry.New(
		registry.WithBlobHandler(registry.NewDiskBlobHandler(os.Args[2])),
		registry.WithReferrersSupport(true),
		registry.Logger(log.New(os.Stderr, "", 0)),
	)
	log.Printf("listening on %v", listener.Addr())
	log.Fatal(http.Serve(listener, handler))
}
