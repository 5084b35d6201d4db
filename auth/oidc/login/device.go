package login

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"envrun/auth"
	"envrun/auth/browser"
)

// Bounds of a device flow (RFC 8628, study auth §3.4).
const (
	minInterval, usualInterval, maxInterval = time.Second, 5 * time.Second, time.Minute
	maxBackOff                              = 30 * time.Second
	maxDeviceTime                           = 30 * time.Minute
	maxUserCode                             = 32 // bytes
)

// A device is what the issuer gave for a device flow, within bounds.
type device struct {
	code     auth.Secret
	shown    Code
	interval time.Duration
	life     time.Duration
}

// parseDevice reads the answer of the device endpoint.
func parseDevice(all map[string]any, local bool) (device, error) {
	text := func(name string) string { s, _ := all[name].(string); return s }
	d := device{code: auth.NewSecret(text("device_code")), shown: Code{UserCode: text("user_code"), URI: text("verification_uri"), CompleteURI: text("verification_uri_complete")}}
	if d.shown.URI == "" {
		d.shown.URI = text("verification_url") // as Google has it
	}
	if d.code.Empty() || len(d.code.Reveal()) > 8<<10 {
		return device{}, errors.New("it gave no device code")
	}
	if !auth.Plain(d.shown.UserCode, maxUserCode) || strings.TrimSpace(d.shown.UserCode) != d.shown.UserCode {
		return device{}, errors.New("the code to enter is not a short text")
	}
	at, err := checkURL(d.shown.URI, local)
	if err != nil || !browser.Openable(d.shown.URI) {
		return device{}, errors.New("the address to enter the code at is not https://…")
	}
	if to, err := checkURL(d.shown.CompleteURI, local); err != nil || to.Host != at.Host || to.Scheme != at.Scheme || !browser.Openable(d.shown.CompleteURI) {
		d.shown.CompleteURI = ""
	}
	if d.interval, err = seconds(all["interval"], usualInterval); err != nil {
		return device{}, errors.New("interval is no number")
	}
	d.interval = min(max(d.interval, minInterval), maxInterval)
	if d.life, err = seconds(all["expires_in"], maxDeviceTime); err != nil || d.life <= 0 {
		return device{}, errors.New("the code is over before it began")
	}
	d.life = min(d.life, maxDeviceTime)
	return d, nil
}

// seconds reads a number of seconds; usual is for one that is missing or 0. Numbers
// beyond a day are a day: a Duration does not hold all that a number can be.
func seconds(v any, usual time.Duration) (time.Duration, error) {
	const most = 24 * 60 * 60
	if v == nil {
		return usual, nil
	}
	number, ok := v.(json.Number)
	if !ok {
		return 0, errors.New("it is no number")
	}
	n, err := number.Float64()
	switch {
	case err != nil && n == 0:
		return 0, err
	case n == 0:
		return usual, nil
	}
	return time.Duration(min(max(n, -most), most) * float64(time.Second)), nil
}

// Device signs somebody in with a code that they enter in a browser anywhere.
// accept brings the tokens to where they are for. Errors are as those of Browser.
func (p *Provider) Device(ctx context.Context, ask Ask, person Person, accept func(context.Context, *Tokens) (Welcome, error)) error {
	defer p.base.CloseIdleConnections()
	if !p.Devices() {
		return browser.ErrNoDevice
	}
	verifier := oauth2.GenerateVerifier()
	form := url.Values{
		"client_id": {p.o.ClientID}, "scope": {strings.Join(p.asked(ask), " ")},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	}
	if len(ask.ACR) > 0 {
		form.Set("acr_values", strings.Join(ask.ACR, " "))
	}
	status, answer, err := p.post(ctx, p.client, p.endpoint.DeviceAuthURL, form)
	if err != nil {
		return p.trouble(ctx, stepDevice, err)
	}
	if code, description := errorOf(answer); status/100 != 2 || code != "" {
		return p.refused(stepDevice, status, code, description)
	}
	d, err := parseDevice(answer, p.local())
	if err != nil {
		return &ProviderError{Issuer: p.o.Issuer, Step: stepDevice, Why: err.Error()}
	}
	d.shown.Until = p.o.now().Add(d.life)
	person.Code(d.shown)
	t, err := p.poll(ctx, d, verifier, person)
	if err != nil {
		return err
	}
	tokens, err := p.accepted(ctx, t, ask, proof{fresh: true})
	if err != nil {
		return err
	}
	_, err = accept(ctx, tokens)
	return err
}

func (p *Provider) local() bool { return strings.HasPrefix(p.o.Issuer, "http://") }

func errorOf(answer map[string]any) (code, description string) {
	code, _ = answer["error"].(string)
	description, _ = answer["error_description"].(string)
	return code, description
}

// poll asks until the person has entered the code, said no, or it is too late. An
// issuer that cannot be asked for a while does not end it.
func (p *Provider) poll(ctx context.Context, d device, verifier string, person Person) (*oauth2.Token, error) {
	sleep := p.o.Sleep
	if sleep == nil {
		sleep = really
	}
	form := url.Values{
		"client_id": {p.o.ClientID}, "grant_type": {"urn:ietf:params:oauth:grant-type:device_code"},
		"device_code": {d.code.Reveal()}, "code_verifier": {verifier},
	}
	// A clock that runs fast asks too often, so each wait is a fifth longer than asked for.
	wait, factor, lost := d.interval, 1.2, 0
	for {
		pause := time.Duration(float64(wait) * factor)
		if lost > 0 {
			pause = min(wait<<min(lost, 5), maxBackOff)
			pause = max(pause, wait)
		}
		if !before(p.o.now().Add(pause), d.shown.Until) {
			return nil, ErrLate
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		// By both clocks: a machine that slept has only one of them go on.
		if !before(p.o.now(), d.shown.Until) {
			return nil, ErrLate
		}
		status, answer, err := p.post(ctx, p.client, p.endpoint.TokenURL, form)
		if err != nil {
			err = p.trouble(ctx, stepPoll, err)
		} else if code, description := errorOf(answer); status/100 != 2 || code != "" {
			switch code {
			case "authorization_pending":
				lost = 0
				continue
			case "slow_down":
				wait, factor, lost = min(wait+usualInterval, 2*maxInterval), 1.4, 0
				continue
			}
			err = p.refused(stepPoll, status, code, description)
		}
		away := (*UnavailableError)(nil)
		switch {
		case errors.As(err, &away):
			if lost++; lost == 2 { // one that is lost is nothing to tell
				person.Note("the issuer does not answer, trying again")
			}
			continue
		case err != nil:
			if refused := (*RefusedError)(nil); errors.As(err, &refused) && refused.Code == "expired_token" {
				return nil, ErrLate
			}
			return nil, err
		}
		text := func(name string) string { s, _ := answer[name].(string); return s }
		t := &oauth2.Token{AccessToken: text("access_token"), RefreshToken: text("refresh_token")}
		return t.WithExtra(answer), nil
	}
}

// before compares by the wall clock as well as by the monotonic one.
func before(a, b time.Time) bool { return a.Before(b) && a.Round(0).Before(b.Round(0)) }

func really(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
