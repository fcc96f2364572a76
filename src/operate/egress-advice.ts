// What to do if this gate cannot reach a host, by the transport's reason.

const ADVICE: readonly (readonly [RegExp, string])[] = [
  [
    /^proxy status 407$/,
    'the proxy demands credentials, or refuses these: UPSTREAM_PROXY=http://user:password@host:port',
  ],
  [
    /^proxy status 4/,
    'the proxy refuses this host or port: have it allowed there, or name the host in NO_PROXY',
  ],
  [/^proxy status/, 'the proxy cannot reach it: see its log, or name the host in NO_PROXY'],
  [
    /^proxy (?:gave|answered|EPROTO|ERR_SSL|closed)/,
    'what UPSTREAM_PROXY names is not an HTTP proxy, or speaks https (http) where http (https) is set',
  ],
  [
    /^proxy (?:UNABLE_TO|SELF_SIGNED|DEPTH_ZERO|CERT_)/,
    "the proxy's certificate is of no CA that is known here: add it to UPSTREAM_CA_FILE",
  ],
  [/^proxy /, 'the proxy cannot be reached: check UPSTREAM_PROXY'],
  [
    /^(?:UNABLE_TO_(?:VERIFY|GET)|SELF_SIGNED|DEPTH_ZERO|CERT_UNTRUSTED|UNABLE_TO_DECODE)/,
    'its certificate is of no CA that is known here: UPSTREAM_CA_FILE adds one, in PEM',
  ],
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, 'its certificate is for another name: check the URL'],
  [/^CERT_(?:HAS_EXPIRED|NOT_YET_VALID)$/, 'its certificate is not valid now; check the clock too'],
  [
    /^(?:ERR_SSL|EPROTO)/,
    'it does not speak TLS there: check scheme and port; http to a private host needs PLAIN_HTTP_HOSTS',
  ],
  [/^no HTTP answer$/, 'it does not speak HTTP there: check scheme and port'],
  [
    /^public address$/,
    'a host in PLAIN_HTTP_HOSTS has a public address, and nothing is sent there in clear: use https',
  ],
  [
    /^(?:ENOTFOUND|EAI_AGAIN|ENODATA|ETIMEOUT|ENOTIMP|DNS_\w+)$/,
    'its name has no address here: check the URL and the DNS of this machine; behind a proxy, UPSTREAM_PROXY',
  ],
  [
    /^(?:connect_timeout|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)$/,
    'no connection in time: check the firewall, and UPSTREAM_PROXY where one is set or needed',
  ],
  [/^ECONNREFUSED$/, 'nothing listens there: check host and port'],
]

/** `reason`, and what to do about it if that is known. */
export function advised(reason: string): string {
  const todo = ADVICE.find(([pattern]) => pattern.test(reason))?.[1]
  return todo === undefined ? reason : `${reason}; ${todo}`
}
