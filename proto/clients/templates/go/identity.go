package mulligan

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	v1 "@MESSAGES@"
)

// tokens are what a login gave.
type tokens struct {
	access, refresh       string
	obtainedAt, expiresAt time.Time
}

// isFresh tells whether more than a tenth of the token's life (at most a minute) is left.
func (held *tokens) isFresh() bool {
	spare := held.expiresAt.Sub(held.obtainedAt) / 10
	if spare > time.Minute {
		spare = time.Minute
	}
	return time.Now().Before(held.expiresAt.Add(-spare))
}

// identity is one account in one scope, and the token that proves it.
type identity struct {
	login       *v1.LoginRequest
	certificate bool
	iam         *Iam
	renewing    gate

	guard sync.Mutex
	held  *tokens
}

func (who *identity) tokens() *tokens {
	who.guard.Lock()
	defer who.guard.Unlock()
	return who.held
}

func (who *identity) set(held *tokens) {
	who.guard.Lock()
	defer who.guard.Unlock()
	who.held = held
}

func (who *identity) canLogIn() bool {
	return who.certificate || who.login.GetSecret() != "" && who.login.GetAccount() != ""
}

// accessToken returns a token that is good for a while, logging in when there is none.
func (who *identity) accessToken(ctx context.Context) (string, error) {
	held := who.tokens()
	if held == nil || !held.isFresh() {
		var err error
		if held, err = who.renewFrom(ctx, held); err != nil {
			return "", err
		}
	}
	return held.access, nil
}

// renew gets another token than one that a service no longer accepts.
func (who *identity) renew(ctx context.Context, refused string) error {
	held := who.tokens()
	if held != nil && held.access != refused {
		return nil
	}
	_, err := who.renewFrom(ctx, held)
	return err
}

// logIn logs in with the secret or certificate, whatever tokens there are.
func (who *identity) logIn(ctx context.Context) error {
	if err := who.renewing.enter(ctx); err != nil {
		return err
	}
	defer who.renewing.leave()
	_, err := who.anew(ctx)
	return err
}

func (who *identity) renewFrom(ctx context.Context, old *tokens) (*tokens, error) {
	if err := who.renewing.enter(ctx); err != nil {
		return nil, err
	}
	defer who.renewing.leave()
	if held := who.tokens(); held != nil && held != old {
		return held, nil // another call has done it meanwhile
	}
	if old != nil && old.refresh != "" {
		answer, err := who.iam.Refresh(ctx, &v1.RefreshRequest{RefreshToken: old.refresh})
		if err == nil {
			return who.keep(answer, old.refresh), nil
		}
		if !errors.Is(err, Unauthenticated) && !errors.Is(err, PermissionDenied) && !errors.Is(err, NotFound) {
			return nil, err
		}
		if !who.canLogIn() {
			return nil, &Error{Kind: Unauthenticated, Message: fmt.Sprintf(
				"the login of '%s' has ended; log in again", who.login.GetAccount())}
		}
	}
	return who.anew(ctx)
}

func (who *identity) anew(ctx context.Context) (*tokens, error) {
	account := who.login.GetAccount()
	if account == "" && !who.certificate {
		return nil, &Error{Kind: Unauthenticated, Message: "no account is set; give the client one"}
	}
	if !who.canLogIn() {
		return nil, &Error{Kind: Unauthenticated, Message: fmt.Sprintf(
			"'%s' is not logged in; give the client its secret", account)}
	}
	answer, err := who.iam.Login(ctx, who.login)
	if err == nil {
		return who.keep(answer, ""), nil
	}
	if errors.Is(err, Unauthenticated) {
		if account == "" {
			account = "the certificate"
		}
		err = &Error{Kind: Unauthenticated, Message: fmt.Sprintf(
			"the login of '%s' was refused: %v", account, err)}
	}
	return nil, err
}

func (who *identity) keep(answer *v1.LoginResponse, refresh string) *tokens {
	now := time.Now()
	held := &tokens{
		access: answer.GetAccessToken(), refresh: answer.GetRefreshToken(),
		obtainedAt: now, expiresAt: now.Add(time.Minute),
	}
	if held.refresh == "" {
		held.refresh = refresh
	}
	if answer.GetExpiresAt() != nil {
		held.expiresAt = answer.GetExpiresAt().AsTime()
	}
	who.set(held)
	return held
}
