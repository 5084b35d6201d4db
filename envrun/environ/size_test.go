package environ_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"envrun/envrun/environ"
	"envrun/vault"
)

func TestCheckSize(t *testing.T) {
	linux := environ.LinuxLimits(8<<20, 4096)
	if linux.String != 131072 || linux.Total != 2<<20-4096 {
		t.Fatalf("limits of Linux: %+v", linux)
	}
	if got := environ.LinuxLimits(1<<63, 4096).Total; got != 6<<20-4096 {
		t.Errorf("no stack limit gives %d", got)
	}
	if got := environ.LinuxLimits(64<<10, 4096).Total; got != 128<<10-4096 {
		t.Errorf("a small stack limit gives %d", got)
	}
	many := func(n, size int) (list []string) {
		for i := range n {
			list = append(list, string(rune('A'+i))+"="+strings.Repeat("x", size-2))
		}
		return list
	}
	for _, tt := range []struct {
		name string
		argv []string
		env  []string
		lim  environ.Limits
		what environ.SizeOf // "" if it fits
		size int
		big  string
	}{
		{"the biggest variable of Linux", []string{"x"}, []string{"A=" + strings.Repeat("x", 131072-3)}, linux, "", 0, ""},
		{"one byte more", []string{"x"}, []string{"B=1", "A=" + strings.Repeat("x", 131072-2)}, linux, environ.SizeOfVariable, 131073, "A (131073 bytes)"},
		{"an argument", []string{"x", strings.Repeat("y", 131072)}, nil, linux, environ.SizeOfArgument, 131073, "argument 1 (131073 bytes)"},
		{"together", []string{"x"}, many(20, 110_000), linux, environ.SizeOfTotal, 2 + 8 + 20*(110_001+8), "A (110001 bytes)"},
		{"macOS takes one big variable", []string{"x"}, []string{"A=" + strings.Repeat("x", 500_000)}, environ.DarwinLimits(), "", 0, ""},
		{"but not two", []string{"x"}, many(2, 600_000), environ.DarwinLimits(), environ.SizeOfTotal, 2 + 8 + 2*(600_001+8), "A (600001 bytes)"},
		{"Windows counts in UTF-16", []string{"x"}, []string{"A=" + strings.Repeat("é", 32764)}, environ.WindowsLimits(), "", 0, ""},
		{"one unit more", []string{"x"}, []string{"A=" + strings.Repeat("é", 32765)}, environ.WindowsLimits(), environ.SizeOfVariable, 32768, "A (65533 bytes)"},
		{"two units for an emoji", []string{"x"}, []string{"A=" + strings.Repeat("😀", 16383)}, environ.WindowsLimits(), environ.SizeOfVariable, 32769, "A (65535 bytes)"},
		{"Windows has no limit for all", []string{"x"}, many(40, 30_000), environ.WindowsLimits(), "", 0, ""},
		{"its command line has", []string{"x", strings.Repeat("y", 32766)}, nil, environ.WindowsLimits(), environ.SizeOfLine, 32769, "argument 1 (32767 bytes)"},
		{"a drive of Windows", []string{"x"}, []string{`=C:=` + strings.Repeat("x", 40_000)}, environ.WindowsLimits(), environ.SizeOfVariable, 40_005, "=C: (40005 bytes)"},
		{"no name to quote", []string{"x"}, []string{strings.Repeat("canary", 40_000)}, linux, environ.SizeOfVariable, 240_001, "(an entry without a name) (240001 bytes)"},
		{"no limits", []string{"x"}, many(2, 900_000), environ.Limits{}, "", 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := environ.CheckSize(tt.argv, tt.env, tt.lim)
			if tt.what == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var e *environ.SizeError
			if !errors.As(err, &e) || vault.KindOf(err) != vault.KindInvalid {
				t.Fatalf("%v is no SizeError", err)
			}
			if e.What != tt.what || e.Size != tt.size || e.Biggest[0].String() != tt.big || len(e.Biggest) > 5 {
				t.Errorf("got %s %d, biggest %v; want %s %d, biggest %s", e.What, e.Size, e.Biggest, tt.what, tt.size, tt.big)
			}
			if !strings.Contains(err.Error(), tt.big) {
				t.Errorf("%q does not name %s", err, tt.big)
			}
			noCanary(t, err, "canary")
			noCanary(t, err, "xxx")
		})
	}
}

func TestSizeErrorNamesTheFiveBiggest(t *testing.T) {
	env := []string{"A=1", "B=22", "C=333", "D=4444", "E=55555", "F=666666", "G=7777777"}
	err := environ.CheckSize([]string{"x"}, env, environ.Limits{Total: 10})
	var e *environ.SizeError
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	var names []string
	for _, s := range e.Biggest {
		names = append(names, s.Name)
	}
	if want := []string{"G", "F", "E", "D", "C"}; !slices.Equal(names, want) {
		t.Errorf("the biggest are %q, want %q", names, want)
	}
}
