//go:build unix

package main

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// thirty is the project of the main job: 30 variables in one secret.
var thirty = project{name: "thirty", own: 30}

func (b *bench) runTrue(dir string) variant {
	return variant{argv: []string{b.envrun, "--", "true"}, dir: dir}
}

func (b *bench) onlyTrue(dir string) variant {
	return variant{argv: []string{b.base, b.truePath}, dir: dir}
}

const baseName = "static program that only executes true"

// start is the main job against the least that any program costs.
func (b *bench) start() ([]line, error) {
	dir, err := b.project(thirty)
	if err != nil {
		return nil, err
	}
	s, err := b.interleave(10*b.rounds, b.onlyTrue(dir), b.runTrue(dir))
	if err != nil {
		return nil, err
	}
	return []line{compare("envrun -- true, 30 variables of one secret", s[1], s[0], baseName, promise{"≤", 2})}, nil
}

// threeOf is three secrets out of many, with all their fields.
const threeOf = `
[[inject]]
path = "team-00/service-07"
[[inject]]
path = "team-04/service-42"
[[inject]]
path = "team-09/service-99"
`

// thousand is the main job where the environment has 1,000 secrets.
func (b *bench) thousand() ([]line, error) {
	dir, err := b.project(project{name: "three-of-1000", secrets: 1000})
	if err != nil {
		return nil, err
	}
	if err := appendOnce(filepath.Join(dir, "envrun.toml"), threeOf); err != nil {
		return nil, err
	}
	s, err := b.interleave(10*b.rounds, b.onlyTrue(dir), b.runTrue(dir))
	if err != nil {
		return nil, err
	}
	return []line{compare("envrun -- true, 3 secrets out of 1,000", s[1], s[0], baseName, promise{"≤", 2.3})}, nil
}

func appendOnce(file, text string) error {
	was, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(was), text) {
		return err
	}
	return os.WriteFile(file, append(was, text...), 0o644)
}

// verify decrypts everything there is, in a fresh process.
func (b *bench) verify() ([]line, error) {
	var dirs []string
	for _, p := range []project{{name: "verify-1000", secrets: 1000}, {name: "verify-10000", secrets: 10000}} {
		dir, err := b.project(p)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, dir)
	}
	verify := func(dir string) variant {
		return variant{argv: []string{b.envrun, "vault", "verify", "-e", "dev"}, dir: dir}
	}
	all := variant{argv: []string{b.decrypt, "-vault", filepath.Join(dirs[1], ".envrun", "vault"),
		"-config", filepath.Join(b.dir, "config"), "-least", "10000"}, dir: dirs[1]}
	s, err := b.interleave(2*b.rounds, b.onlyTrue(dirs[0]), verify(dirs[0]), verify(dirs[1]), all)
	if err != nil {
		return nil, err
	}
	perSecret := func(of float64, n int) string { return fmt.Sprintf("%.1f µs", of/float64(n)*1e6) }
	small, large := s[1], s[2]
	ratio, best := large.median(wall)/small.median(wall)/10, large.best(wall)/small.best(wall)/10
	p := promise{"≤", 1.3}
	return []line{
		compare("decrypting all of 1,000 secrets", small, s[0], baseName, promise{"≤", 12}),
		{
			what: "decrypting one of 10,000 against one of 1,000",
			mine: perSecret(large.median(wall), 10000), against: perSecret(small.median(wall), 1000) + " of 1,000",
			ratio: times(ratio), best: times(best), promise: p.String(), met: p.met(ratio, best),
		},
		compare("checking all of 10,000 secrets", large, s[3], "decrypting them and no more", promise{"≤", 1.3}),
	}, nil
}

// write changes one value, on disk for good.
func (b *bench) write() ([]line, error) {
	var variants []variant
	for _, n := range []int{100, 10000} {
		dir, err := b.project(project{name: fmt.Sprintf("write-%d", n), own: 1, secrets: n})
		if err != nil {
			return nil, err
		}
		variants = append(variants, variant{argv: []string{b.envrun, "set"}, dir: dir,
			each: func(round int) []string { return []string{fmt.Sprintf("K=value-%d-%d", n, round)} }})
	}
	s, err := b.interleave(3*b.rounds, variants...)
	if err != nil {
		return nil, err
	}
	return []line{compare("one write among 10,000 secrets", s[1], s[0], "among 100", promise{"≤", 1.5})}, nil
}

// size is that of the program as it is given away.
func (b *bench) size() ([]line, error) {
	const bound = 16_000_000
	info, err := os.Stat(b.envrun)
	if err != nil {
		return nil, err
	}
	l := line{what: "size of the program", mine: fmt.Sprintf("%.2f MB", float64(info.Size())/1e6), promise: "≤ 16 MB", met: "NOT met"}
	if info.Size() <= bound {
		l.met = "met"
	}
	// The promise is about a stripped and static one; other formats than Linux' are taken as they are.
	if f, err := elf.Open(b.envrun); err == nil {
		defer f.Close()
		if f.Section(".symtab") != nil || f.Section(".interp") != nil {
			l.met = "not comparable: not stripped and static"
		}
	}
	return []line{l}, nil
}
