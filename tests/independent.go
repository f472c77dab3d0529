// Whether a program that is none of ours reads what an auditor takes away: golang.org/x/mod/sumdb, the Go project's own
// implementation of signed notes and of logs in tiles, which the C2SP specifications were written from.
//
//	independent.go LOG KEY EARLIER PROOF GROWTH
//
// LOG is an exported log, KEY its verifier key, EARLIER a checkpoint that was kept, PROOF that of an event, GROWTH that from
// EARLIER to a later checkpoint.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// 256 hashes a tile, as C2SP tlog-tiles fixes it.
const height = 8

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func claim(holds bool, what string) {
	if !holds {
		log.Fatal(what)
	}
}

// checkpoint checks the signature and reads the tree out of it. The Go project's own logs have another first line.
func checkpoint(text []byte, keys note.Verifiers) tlog.Tree {
	opened := must(note.Open(text, keys))
	origin, rest, _ := strings.Cut(opened.Text, "\n")
	claim(origin == opened.Sigs[0].Name, "the first line is not the name of the key")
	return must(tlog.ParseTree([]byte("go.sum database tree\n" + rest)))
}

// tiles reads the hash tiles of an exported log: tile/<level>/<n>, where Go's own logs write the height as well.
type tiles string

func (dir tiles) Height() int { return height }

func (dir tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
		data, err := os.ReadFile(filepath.Join(string(dir), path))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (dir tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// entries reads the entry bundles, in order. The paths are those of level 0 with another name.
func entries(dir string, size int64) [][]byte {
	var all [][]byte
	for n := int64(0); n*256 < size; n++ {
		tile := tlog.Tile{H: height, L: 0, N: n, W: 256}
		if left := size - n*256; left < 256 {
			tile.W = int(left)
		}
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/0/", height), "tile/entries/", 1)
		data := must(os.ReadFile(filepath.Join(dir, path)))
		for len(data) > 0 {
			length := int(binary.BigEndian.Uint16(data))
			all = append(all, data[2:2+length])
			data = data[2+length:]
		}
	}
	return all
}

func hashes(lines []string) []tlog.Hash {
	var all []tlog.Hash
	for _, line := range lines {
		all = append(all, must(tlog.ParseHash(line)))
	}
	return all
}

func main() {
	log.SetFlags(0)
	claim(len(os.Args) == 6, "LOG KEY EARLIER PROOF GROWTH")
	dir, earlier, proofFile, growthFile := os.Args[1], os.Args[3], os.Args[4], os.Args[5]
	keys := note.VerifierList(must(note.NewVerifier(os.Args[2])))

	// The whole log: signature, tiles against the root, entries against the tiles.
	tree := checkpoint(must(os.ReadFile(filepath.Join(dir, "checkpoint"))), keys)
	reader := tlog.TileHashReader(tree, tiles(dir))
	claim(must(tlog.TreeHash(tree.N, reader)) == tree.Hash, "the tiles have another root")
	all := entries(dir, tree.N)
	claim(int64(len(all)) == tree.N, "another number of entries")
	for at := range all {
		leaf := must(reader.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(at))}))[0]
		claim(leaf == tlog.RecordHash(all[at]), fmt.Sprintf("entry %d is not its leaf", at))
	}

	// It grew from the checkpoint that was kept.
	kept := checkpoint(must(os.ReadFile(earlier)), keys)
	grown := must(tlog.ProveTree(tree.N, kept.N, reader))
	if err := tlog.CheckTree(grown, tree.N, tree.Hash, kept.N, kept.Hash); err != nil {
		log.Fatal("the log did not grow from the kept checkpoint: ", err)
	}

	// The proof of an event, as C2SP tlog-proof writes it.
	head, signed, _ := bytes.Cut(must(os.ReadFile(proofFile)), []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	claim(lines[0] == "c2sp.org/tlog-proof@v1", "no proof")
	envelope := must(base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra ")))
	index := must(strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64))
	at := checkpoint(signed, keys)
	if err := tlog.CheckRecord(hashes(lines[3:]), at.N, at.Hash, index, tlog.RecordHash(envelope)); err != nil {
		log.Fatal("the proof of the event: ", err)
	}
	claim(bytes.Equal(envelope, all[index]), "the proof is of another entry")

	// The proof of growth between two signed checkpoints.
	var growth struct {
		Before, After string
		Path          []string
	}
	if err := json.Unmarshal(must(os.ReadFile(growthFile)), &growth); err != nil {
		log.Fatal(err)
	}
	before, after := checkpoint([]byte(growth.Before), keys), checkpoint([]byte(growth.After), keys)
	if err := tlog.CheckTree(hashes(growth.Path), after.N, after.Hash, before.N, before.Hash); err != nil {
		log.Fatal("the proof of growth: ", err)
	}
	fmt.Printf("golang.org/x/mod agrees on %d entries, on the proof of entry %d, and that %d grew to %d\n",
		tree.N, index, before.N, after.N)
}
