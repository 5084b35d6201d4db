package browser

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"net/http"
	"strconv"
	"strings"

	"envrun/auth"
)

// A Page is what the browser shows in the end. The zero Page says that the sign-in
// failed, and that the terminal says why.
type Page struct {
	OK      bool
	Server  string // where
	Account string // who
}

const style = `:root{color-scheme:light dark}
body{margin:0;min-height:100vh;display:grid;place-items:center;font:1rem/1.5 system-ui,sans-serif;background:#f6f7f9;color:#1b1f24}
main{max-width:30rem;margin:1rem;padding:1.5rem 2rem 2rem;border:1px solid #d5dae0;border-top:4px solid #1a7f4b;border-radius:.5rem;background:#fff}
main.no{border-top-color:#b3261e}
h1{margin:.25rem 0 .75rem;font-size:1.5rem;line-height:1.25}
p{margin:.5rem 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem;margin:1rem 0}
dt{color:#57606a}
dd{margin:0;overflow-wrap:anywhere;font-weight:600}
@media (prefers-color-scheme:dark){body{background:#14171b;color:#e7eaee}main{background:#1d2126;border-color:#3a4149;border-top-color:#4cc38a}main.no{border-top-color:#f2796f}dt{color:#a3adb8}}`

func (p Page) html() string {
	var b strings.Builder
	title, class := "You are signed in", "yes"
	if !p.OK {
		title, class = "You are not signed in", "no"
	}
	b.WriteString("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<meta name=\"robots\" content=\"noindex\">\n")
	b.WriteString("<title>" + title + " · envrun</title>\n<style>" + style + "</style>\n</head>\n<body>\n<main class=\"" + class + "\">\n<h1>" + title + "</h1>\n")
	if p.OK {
		b.WriteString("<p>envrun has what it needs.</p>\n")
		server, account := html.EscapeString(auth.Short(p.Server, 200)), html.EscapeString(auth.Short(p.Account, 200))
		if server != "" || account != "" {
			b.WriteString("<dl>\n")
			for _, line := range [][2]string{{"Account", account}, {"Server", server}} {
				if line[1] != "" {
					b.WriteString("<dt>" + line[0] + "</dt>\n<dd><bdi>" + line[1] + "</bdi></dd>\n")
				}
			}
			b.WriteString("</dl>\n")
		}
		b.WriteString("<p>You can close this tab and go back to where you started.</p>\n")
	} else {
		b.WriteString("<p>Signing in did not work. Where you started it, envrun says why.</p>\n<p>You can close this tab.</p>\n")
	}
	b.WriteString("</main>\n</body>\n</html>\n")
	return b.String()
}

func (p Page) write(w http.ResponseWriter) {
	sum := sha256.Sum256([]byte(style))
	status := http.StatusOK
	if !p.OK {
		status = http.StatusForbidden
	}
	send(w, status, "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'", p.html())
}

func notFound(w http.ResponseWriter) {
	send(w, http.StatusNotFound, "", "<!DOCTYPE html>\n<html lang=\"en\">\n<title>Not found</title>\n<p>There is nothing here.</p>\n</html>\n")
}

func send(w http.ResponseWriter, status int, more, body string) {
	h := w.Header()
	policy := "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if more != "" {
		policy += "; " + more
	}
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Connection", "close")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
	_ = http.NewResponseController(w).Flush()
}
