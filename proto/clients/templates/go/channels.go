package mulligan

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

const (
	largestAnswer = 64 << 20
	closedClient  = "the client is closed; make another one"
)

// channels are the open connections of one client: one an address, opened on first use and kept.
type channels struct {
	ca      string
	options []grpc.DialOption

	guard  sync.Mutex
	open   map[string]*grpc.ClientConn
	closed bool
}

func newChannels(options Options, plaintext bool) (*channels, error) {
	made := &channels{ca: options.CA, open: map[string]*grpc.ClientConn{}}
	if made.ca == "" && len(options.CAPEM) > 0 {
		made.ca = "the one that the region's record gives"
	}
	made.options = []grpc.DialOption{
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: figureKeepalive, Timeout: 5 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: grpcbackoff.Config{
				BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second,
			},
			MinConnectTimeout: figureConnect,
		}),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(), // the client's own know what is safe
		grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largestAnswer)),
	}
	if plaintext {
		made.options = append(made.options, grpc.WithInsecure())
		return made, nil
	}
	config, err := tlsConfig(options)
	if err != nil {
		return nil, err
	}
	made.options = append(made.options, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	return made, nil
}

// usable returns an error once they are closed.
func (all *channels) usable() error {
	all.guard.Lock()
	defer all.guard.Unlock()
	if all.closed {
		return &Error{Kind: FailedPrecondition, Message: closedClient}
	}
	return nil
}

// to returns the connection to host:port; it is made when it is first used.
func (all *channels) to(address string) (*grpc.ClientConn, error) {
	_, port, err := net.SplitHostPort(address)
	if number, problem := strconv.Atoi(port); err != nil || problem != nil || number > 65535 {
		return nil, invalid("address", fmt.Sprintf("%q is not host:port", address))
	}
	all.guard.Lock()
	defer all.guard.Unlock()
	if all.closed {
		return nil, &Error{Kind: FailedPrecondition, Message: closedClient}
	}
	if connection := all.open[address]; connection != nil {
		return connection, nil
	}
	connection, err := grpc.Dial(address, all.options...)
	if err != nil {
		return nil, invalid("address", fmt.Sprintf("%q cannot be called: %v", address, err))
	}
	all.open[address] = connection
	return connection, nil
}

// close closes every connection, for good; calls under way on them fail.
func (all *channels) close() {
	all.guard.Lock()
	defer all.guard.Unlock()
	all.closed = true
	for address, connection := range all.open {
		connection.Close()
		delete(all.open, address)
	}
}

func tlsConfig(options Options) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	pem := options.CAPEM
	if len(pem) == 0 && options.CA != "" {
		read, err := os.ReadFile(options.CA)
		if err != nil {
			return nil, invalid("ca", fmt.Sprintf("cannot read the CA file: %v", err))
		}
		pem = read
	}
	if len(pem) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, invalid("ca", "it holds no certificate in PEM")
		}
	}
	if options.Cert != "" {
		key := options.Key
		if key == "" {
			key = options.Cert
		}
		pair, err := tls.LoadX509KeyPair(options.Cert, key)
		if err != nil {
			return nil, invalid("cert", fmt.Sprintf("cannot use the certificate %s: %v", options.Cert, err))
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
