/** Connections: one TLS channel an address, opened on first use and kept. */

import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";

import {
  type ChannelCredentials,
  type ChannelOptions,
  Client,
  connectivityState,
  credentials,
} from "@grpc/grpc-js";

import { FailedPrecondition, InvalidArgument } from "./errors.js";
import { KEEPALIVE_MS } from "./figures.js";

const UNNAMED = "mulligan";
const LARGEST_ANSWER = 64 * 1024 * 1024;

const OPTIONS: ChannelOptions = {
  "grpc.keepalive_time_ms": KEEPALIVE_MS,
  "grpc.keepalive_timeout_ms": 5000,
  "grpc.initial_reconnect_backoff_ms": 50,
  "grpc.max_reconnect_backoff_ms": 1000,
  "grpc.dns_min_time_between_resolutions_ms": 1000,
  "grpc.max_receive_message_length": LARGEST_ANSWER,
  "grpc.enable_retries": 0, // the client's own know what is safe
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.use_local_subchannel_pool": 1,
};

/** Whom we trust and what we show; `ca`, `cert` and `key` are paths of PEM files. */
export interface Trust {
  readonly ca?: string;
  /** The text of the CA's PEM file, instead of its path. */
  readonly caPem?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Do without TLS. */
  readonly plaintext?: boolean;
}

/** The open channels of one client. */
export class Channels {
  /** What vouches for the services, in words. */
  readonly ca: string;
  private readonly open = new Map<string, Client>();
  private closed = false;

  private readonly credentials: ChannelCredentials;
  private readonly files: Files;

  constructor(private readonly trust: Trust) {
    this.ca = trust.ca ?? (trust.caPem ? "the one that the region's record gives" : "");
    this.files = trust.plaintext ? NO_FILES : read(trust);
    this.credentials = trust.plaintext ? credentials.createInsecure() : tls(this.files);
  }

  /** Throw FailedPrecondition once they are closed. */
  requireOpen(): void {
    if (this.closed) throw new FailedPrecondition("the client is closed; make another one");
  }

  /** Return the channel to `host:port`; it connects when it is first used. */
  to(address: string): Client {
    this.requireOpen();
    let channel = this.open.get(address);
    if (channel === undefined) {
      channel = this.opened(address);
      this.open.set(address, channel);
    }
    return channel;
  }

  /**
   * Return a new channel. TLS knows no IP addresses as names of servers (RFC 6066), and Node warns of
   * each that it is given; so such a server is asked for by no name of its own, and its certificate
   * compared with its address.
   */
  private opened(address: string): Client {
    const host = hostOf(address);
    if (isIP(host) === 0 || this.trust.plaintext) {
      return new Client(address, this.credentials, OPTIONS);
    }
    const checked = tls(this.files, (_name, cert) => checkServerIdentity(host, cert));
    return new Client(address, checked, { ...OPTIONS, "grpc.ssl_target_name_override": UNNAMED });
  }

  /** Wait until the channel stands, or has failed, or `deadlineMs` are over. */
  async stand(address: string, deadlineMs: number): Promise<void> {
    const channel = this.to(address).getChannel();
    const until = Date.now() + deadlineMs;
    for (;;) {
      const state = channel.getConnectivityState(true);
      const passing = state === connectivityState.IDLE || state === connectivityState.CONNECTING;
      if (!passing || Date.now() >= until) return;
      await new Promise<void>((resolve) => {
        channel.watchConnectivityState(state, until, () => resolve());
      });
    }
  }

  /** Close every channel, for good; calls under way on them fail. */
  close(): void {
    this.closed = true;
    for (const channel of this.open.values()) channel.close();
    this.open.clear();
  }
}

function hostOf(address: string): string {
  const [, host, port] = /^(.+):(\d+)$/.exec(address) ?? [];
  if (host === undefined || Number(port) > 65535) {
    throw InvalidArgument.of("address", `'${address}' is not host:port`);
  }
  return host.replace(/^\[(.*)\]$/, "$1");
}

interface Files {
  readonly ca: Buffer | null;
  readonly cert: Buffer | null;
  readonly key: Buffer | null;
}

const NO_FILES: Files = { ca: null, cert: null, key: null };

function read(trust: Trust): Files {
  const ca = trust.caPem ? Buffer.from(trust.caPem) : pem("ca", trust.ca);
  const cert = pem("cert", trust.cert);
  return { ca, cert, key: cert === null ? null : pem("key", trust.key ?? trust.cert) };
}

type Check = (name: string, cert: PeerCertificate) => Error | undefined;

function tls({ ca, cert, key }: Files, check?: Check): ChannelCredentials {
  try {
    return credentials.createSsl(ca, key, cert, check && { checkServerIdentity: check });
  } catch (error) {
    throw InvalidArgument.of("cert", `cannot use the certificates: ${String(error)}`);
  }
}

function pem(field: string, path: string | undefined): Buffer | null {
  if (!path) return null;
  try {
    return readFileSync(path);
  } catch (error) {
    throw InvalidArgument.of(field, `cannot read ${path}: ${String(error)}`);
  }
}
