package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Floods of headers are refused by the program as it is run, and clients that send
// nothing, or slowly, keep nobody else from being answered.
func TestFloods(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts the server: not in short mode")
	}
	address, token := devServer(t)
	host := strings.TrimPrefix(address, "http://")
	send := func(head string) (int, error) {
		t.Helper()
		c, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		// What is refused may be refused before all of it is sent.
		_, _ = io.WriteString(c, "GET /v1/auth/token/lookup-self HTTP/1.1\r\nHost: h\r\nX-Vault-Token: "+token+"\r\n"+head+"\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		return res.StatusCode, nil
	}
	var many strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&many, "X-%d: y\r\n", i)
	}
	for name, head := range map[string]string{"one long header": "X-Long: " + strings.Repeat("a", 1<<20) + "\r\n", "many headers": many.String()} {
		// The connection may be gone before the answer is read: that is a refusal too.
		if status, err := send(head); err == nil && status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: %d", name, status)
		}
	}
	// More connections than there are places for requests, all of which wait.
	for i := range 600 {
		c, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			_, err = io.WriteString(c, "POST /v1/cubbyhole/x HTTP/1.1\r\nHost: h\r\nX-Vault-Token: "+token+"\r\nContent-Length: 100\r\n\r\n{")
		} else {
			_, err = io.WriteString(c, "GET /v1/sys/he")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if status, err := send(""); err != nil || status != http.StatusOK {
		t.Errorf("beside them: %d, %v", status, err)
	}
}
