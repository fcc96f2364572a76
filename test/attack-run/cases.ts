// Every attack by its number: what is expected, and what shows it. Either tests of the suite, where
// they show it in full, or a run of this folder's at the size that the attack is worded in.

import type { Own } from './own.ts'
import { ADDRESSES, PREFLIGHTS } from './own/addresses.ts'
import { ADMIN_TIMING } from './own/admin-timing.ts'
import { CLOCK } from './own/clock.ts'
import { CROWD } from './own/crowd.ts'
import { FORGED_TOKENS } from './own/forged-tokens.ts'
import { KEY_FLOOD } from './own/key-flood.ts'
import { KEY_SET_OUTAGE } from './own/key-set.ts'
import { LIMITER_MEMORY } from './own/limiter-memory.ts'
import { EVENT_PACE } from './own/pace.ts'
import { PRESSURE } from './own/pressure.ts'
import { ROTATION } from './own/rotation.ts'
import { SLOW_HTTP } from './own/slow-http.ts'
import { SLOW_READERS } from './own/slow-readers.ts'
import { SMUGGLING } from './own/smuggling.ts'
import { STRANGERS } from './own/strangers.ts'
import type { Wanted } from './junit.ts'

export interface Test extends Wanted {
  /** Minutes, or half of one: not with --quick; runs beside everything else. */
  readonly long?: true
  /** Where the answer that the tests assert is safe, and not the expected one: why. */
  readonly otherwise?: string
}

export interface Case {
  readonly id: string
  readonly attack: string
  readonly expected: string
  readonly tests?: readonly Test[]
  readonly own?: readonly Own[]
  /** Of a feature that does not exist. */
  readonly later?: string
}

const test = (file: string, named: RegExp, shows: string, more: Partial<Test> = {}): Test => ({
  file: `test/${file}.test.ts`,
  named,
  shows,
  ...more,
})

export const CASES: readonly Case[] = [
  {
    id: '1',
    attack:
      'Content-Length against Transfer-Encoding, and what only looks like either (as smuggler does)',
    expected: '400 and the end; the upstream sees nothing, the follow-up is not read',
    tests: [test('attack/framing', /attack 1:/, '400, closed, upstream 0')],
    own: [SMUGGLING],
  },
  {
    id: '2',
    attack: 'two lengths, different or the same; lengths that are none',
    expected: '400',
    tests: [test('attack/framing', /attack 2:/, '400, also for the same one twice')],
  },
  {
    id: '3',
    attack: 'a Host twice, with a comma, path, user or space, empty, missing',
    expected: '400 bad_host',
    tests: [test('attack/target', /attack 3:/, '400 bad_host, routing as ever')],
  },
  {
    id: '4',
    attack: 'CONNECT, TRACE, lower-case and unknown methods',
    expected: '405 and Allow',
    tests: [
      test('attack/target', /attack 4:.*(405|tunnel)/, '405 and Allow, no tunnel'),
      test('attack/target', /attack 4:.*no answer at all/, 'closed without a word', {
        otherwise: "a method that is none is closed by Bun's parser without an answer, not 405",
      }),
    ],
  },
  {
    id: '5',
    attack: 'an absolute-form target with a foreign authority',
    expected: '421 or 400; routing unaffected',
    tests: [
      test('attack/target', /attack 5:/, 'routed by path alone, upstream of the settings', {
        otherwise: "the target's authority is ignored: it moves neither route nor upstream",
      }),
    ],
  },
  {
    id: '6',
    attack: 'dot segments, %2e, backslashes, //, ;a, %00, %2f, other case, trailing slash',
    expected: '404; upstream 0',
    tests: [
      test('attack/target', /attack 6:(?!.*by the time)/, '404, or 400 where it is no path'),
      test(
        'attack/target',
        /attack 6:.*by the time/,
        'a route like any other, 401 without a token',
        {
          otherwise:
            'Bun resolves dots and backslashes before any handler; guarded as what it becomes',
        },
      ),
    ],
  },
  {
    id: '7',
    attack: 'a body on GET or HEAD, or behind an early 401, with a request in it',
    expected: 'no desync',
    tests: [test('attack/framing', /attack 7:/, 'the hidden request is never answered')],
  },
  {
    id: '8',
    attack: 'Authorization and Content-Length in trailers',
    expected: 'never headers',
    tests: [test('attack/framing', /attack 8:/, 'no header, no framing')],
  },
  {
    id: '9',
    attack: 'headers, URL or body too large; 100-continue of a stranger',
    expected: '431, 414, 413 before buffering; 401 and no 100',
    tests: [
      test('attack/framing', /attack 9:(?!.*(100-continue|Expect))/, '431, 414'),
      test('attack/framing', /attack 9:.*100-continue/, '100, then 401', {
        otherwise: 'Bun answers Expect before any handler; the body that it invites is not read',
      }),
      test('attack/bodies', /attack 9:/, '413 before a byte is read, 200 MB keep no memory'),
    ],
  },
  {
    id: '10',
    attack: 'h2c and other Upgrades',
    expected: 'never forwarded; 200 or 426',
    tests: [test('attack/target', /attack 10:/, 'an ordinary answer, no tunnel')],
  },
  {
    id: '11',
    attack: 'Connection names the credential and the EHBP header',
    expected: "the server's credential once, the EHBP header forwarded, Connection not",
    tests: [
      test('attack/headers', /attack 11:/, 'as expected, before Tinfoil'),
      test('device/headers', /./, 'and before Anthropic'),
    ],
  },
  {
    id: '12',
    attack: 'sixty request headers, credentials and hops among them',
    expected: 'none of them reaches the upstream',
    tests: [test('attack/headers', /attack 12:/, 'the allowed ones alone')],
  },
  {
    id: '13',
    attack: 'two credentials',
    expected: '400 ambiguous_credentials',
    tests: [
      test('attack/credentials', /attack 13:/, '400 for two Authorization headers'),
      test('device/credentials', /a token comes|one kind/, '400 for two that differ'),
    ],
  },
  {
    id: '14',
    attack: 'header names with _, CR, LF, NUL, folding; encoded line breaks in the path',
    expected: '400 or inert; one line of log',
    tests: [test('attack/framing', /attack 14:/, '400 and the end, or 404')],
  },
  {
    id: '15',
    attack: "an upstream's hop-by-hop headers, cookies, Server, Alt-Svc, CORS",
    expected: 'stripped',
    tests: [test('attack/headers', /attack 15:/, 'the allowed ones alone, none twice')],
  },
  {
    id: '16',
    attack: 'an upstream that redirects to an attacker',
    expected: '502 upstream_redirect; no request there, no key',
    tests: [test('attack/answers', /attack 16:/, '502, the attacker saw no connection')],
  },
  {
    id: '17',
    attack: 'an upstream that refuses our key and echoes it',
    expected: '502 upstream_auth; the key is nowhere in the whole run',
    tests: [
      test('attack/answers', /attack 17:/, '502, key in no answer or log'),
      test('attack/canary', /leaves none of its secrets/, 'nor in a whole session'),
      test('device/canary', /./, 'nor in the ledger file'),
    ],
  },
  {
    id: '18',
    attack: 'foreign and null origins, preflights',
    expected: 'no permission, never * with credentials, Vary, preflights limited',
    tests: [
      test('device/cors', /./, 'as expected'),
      test('road/routes', /attack 18:/, 'a preflight opens no route'),
      test('accept/cors', /./, 'Expose Ehbp-Response-Nonce, Vary: Origin'),
    ],
    own: [PREFLIGHTS],
  },
  {
    id: '19',
    attack: 'X-Tinfoil-Enclave-Url to anywhere else, DNS rebinding',
    expected: '400 enclave_not_allowed; 0 connections',
    tests: [
      test('attack/enclave-url', /attack 19:/, '400, 0 connections'),
      test('upstream/tinfoil', /public first and 127/, 'the checked address is the one dialled'),
    ],
  },
  {
    id: '20',
    attack: 'HTTP_PROXY and its kin in the environment',
    expected: 'the upstream is not diverted',
    tests: [test('attack/tokens', /attack 20:/, '0 connections to the proxy')],
  },
  {
    id: '21',
    attack:
      "forged tokens: alg none, HS256 by the public key, r=s=0, DER, crit, b64, jku, … (a corpus of ours, and Wycheproof's for ES256, RSA and Ed25519)",
    expected: '401 invalid_token, one body, 0 fetches for jku and x5u',
    tests: [
      test('attack/tokens', /attack 21:|anybody anything/, 'one and the same 401'),
      test('admit/wycheproof', /^(?!18:)/, 'refused, as the library does'),
      test('admit/wycheproof-rsa', /./, 'as the vectors say'),
      test('admit/algorithms', /is refused|are refused|verifies nothing/, 'refused'),
      test('admit/issuers', /never by another|to the letter/, 'refused'),
    ],
    own: [FORGED_TOKENS],
  },
  {
    id: '22',
    attack: 'encodings and claims that lenient parsers take',
    expected: '401',
    tests: [test('attack/tokens', /attack 22:/, 'one and the same 401')],
  },
  {
    id: '23',
    attack: 'tokens of another type, issuer or audience; a missing scope',
    expected: '401; 403 insufficient_scope',
    tests: [
      test('attack/tokens', /attack 23:|without the scope/, '401; 403'),
      test('device/credentials', /one kind of token|signed with our own/, '401 either way round'),
    ],
  },
  {
    id: '24',
    attack: 'a token beyond 16 KiB',
    expected: '401 before it is decoded',
    tests: [
      test('attack/tokens', /attack 24:/, '401'),
      test('admit/token', /16,384 bytes are read/, '16,384 are read, 16,385 are not'),
    ],
  },
  {
    id: '25',
    attack: '10,000 random kids a second for 60 s',
    expected: '1 key-set fetch per cooldown; valid traffic p99 +1 ms at most; memory bounded',
    own: [KEY_FLOOD],
  },
  {
    id: '26',
    attack: 'a key set that fails, hangs, is garbage, huge, private, doubled, redirected',
    expected: 'the last good one up to max_stale; never loaded: 503 keys_unavailable, not ready',
    tests: [
      test('attack/keys', /attack 26:/, '503, not ready; the last good keys serve on'),
      test(
        'admit/jwks',
        /last good keys stay|not followed|longest outage|refused|not /,
        'each way',
      ),
    ],
    own: [KEY_SET_OUTAGE],
  },
  {
    id: '27',
    attack: 'rotation of the keys under 1,000 requests a second',
    expected: '0 valid tokens refused; new kid usable within 1 s; withdrawn key dead within TTL',
    own: [ROTATION],
  },
  {
    id: '28',
    attack: 'clocks 60 and 61 s apart; a clock set back and forth in a run',
    expected: '60 s pass, 61 s are 401; limiter and breaker go by the monotonic clock',
    own: [CLOCK],
  },
  {
    id: '29',
    attack: 'rotation inside an IPv6 /64, mapped IPv4, a forged X-Forwarded-For',
    expected: 'one bucket; the header of a stranger is ignored',
    tests: [
      test('road/documents', /attack 29:/, 'one bucket, the header not believed'),
      test('accept/address', /./, 'every spelling'),
    ],
    own: [ADDRESSES],
  },
  {
    id: '30',
    attack: '10 million identities',
    expected: 'memory of at most 150 MiB; no exhausted bucket comes back by eviction',
    own: [LIMITER_MEMORY],
  },
  {
    id: '31',
    attack: 'too many requests, too many streams',
    expected: '429, Retry-After, RateLimit headers',
    tests: [
      test('attack/rate', /attack 31:/, '429 and when to come again'),
      test('attack/concurrency', /attack 31:/, 'places are given back, each of them'),
    ],
  },
  { id: '32', attack: 'Redis dead, stopped, wrong or slow', expected: '-', later: 'Redis' },
  {
    id: '33',
    attack: 'secrets missing or short in production',
    expected: 'no start, exit 78, every mistake named at once',
    tests: [
      test('road/startup', /attack 33:/, '78, every mistake in one go'),
      test('device/failings', /"JWT_SECRET"/, '78'),
    ],
  },
  {
    id: '34',
    attack: 'enrolment without a code, with a used or expired one, 1000 devices, own terms',
    expected: '403; 429; terms of the body ignored',
    tests: [
      test('device/enrolment', /./, '403; ten of 1000, then 429; the terms of the code'),
      test('enroll/bootstrap', /attack 34|entitlements/, 'one and the same refusal'),
    ],
  },
  { id: '35', attack: 'DPoP proofs, wrong in every way', expected: '401', later: 'DPoP' },
  {
    id: '36',
    attack: 'a retired refresh token; 20 refreshes at once; a lost answer',
    expected: 'the family revoked; one family, no lockout; the retry succeeds',
    tests: [
      test('device/tokens', /^refresh /, '200 at once: one successor; the retry gets the same'),
      test('device/tokens', /a retired token serves requests after 10 s/, 'reuse ends the family', {
        long: true,
      }),
    ],
  },
  {
    id: '37',
    attack: 'a device revoked in mid-stream',
    expected: '401 within 1 s; the running stream as documented',
    tests: [test('device/tokens', /^revoked by another/, '401 within 1 s; the stream goes on')],
  },
  {
    id: '38',
    attack: 'other tokens on /admin; every prefix of the key; its timing; cookies',
    expected: '403; 401; Welch |t| < 4.5 over 100,000; own listener; audited',
    tests: [
      test('device/admin', /^with ADMIN_TOKEN/, '403, 401, cookies unread, audited'),
      test('device/admin', /^with ADMIN_PORT/, 'alone on loopback', {
        otherwise: 'a listener of its own where ADMIN_PORT asks for one, or else the common one',
      }),
    ],
    own: [ADMIN_TIMING],
  },
  {
    id: '39',
    attack: 'OAuth: state missing, other, reused, of another; tampered; mix-up; open redirects',
    expected: '400, none leaves the origin',
    tests: [
      test('login/login', /attack 39:/, 'no session begins'),
      test('login/routes', /attack 39:/, '400; none leaves the origin'),
    ],
  },
  {
    id: '40',
    attack: 'session fixation, its cookie, cross-site posts, logout',
    expected: 'a new id at login, __Host- cookie, 403, nothing left of it',
    tests: [
      test('login/routes', /attack 40:/, 'as expected'),
      test(
        'login/page',
        /attack 40:(?!.*(with a script and a redirect|with no script and a code))/,
        'and in a real browser',
      ),
      test('login/page', /attack 40: signs in/, 'in it with and without scripts, by both ways', {
        long: true,
      }),
    ],
  },
  {
    id: '41',
    attack: 'sealed records: bit flips, swaps, unknown kid, truncation, an old version',
    expected: '401 session_invalid, never 500, never plaintext',
    tests: [
      test('login/seal', /attack 41:/, 'every bit, every truncation'),
      test('login/sessions', /attack 41:/, 'session_invalid'),
    ],
  },
  {
    id: '42',
    attack: '200 requests at expiry; invalid_grant; a server that fails; kill -9 between',
    expected: '1 refresh; session ended; old token, then 503; no refresh token lost',
    tests: [
      test('login/tokens', /^(?!.*SIGKILL)/, '1 refresh for 200; the session ends; then 503'),
      test('login/tokens', /SIGKILL between/, 'the session is lost, and nothing hangs', {
        otherwise: 'what the server has rotated and we have not yet read, nobody can write ahead',
      }),
    ],
  },
  {
    id: '43',
    attack: 'an upstream that dies after N events: FIN, reset, short, in a chunk',
    expected: 'N events, no last chunk, ledger truncated, breaker counts',
    tests: [
      test('stream/death', /\b43:/, '2,000 of 2,000 events, broken visibly'),
      test('ledger/endings', /dies midway|closes at once/, 'ledger: partial; 502 before a byte'),
      test('ledger/breaker', /^five times/, 'counted'),
    ],
  },
  {
    id: '44',
    attack: 'an upstream without headers, or with a trickle of them',
    expected: '504 upstream_timeout at the limit',
    tests: [test('waits', /\b44:/, '504 in time; 408 for uploads that stand still')],
  },
  {
    id: '45',
    attack: 'clients that leave; 10,000 of them abruptly',
    expected: 'upstream closed within 100 ms; partial usage kept; the process survives',
    tests: [
      test('timing/departure', /\b45:/, 'upstream closed within 100 ms (median), places free'),
      test('load/departures', /\b45:/, 'as many of them, memory at rest'),
      test('ledger/endings', /a client that leaves midway/, 'partial usage kept'),
    ],
  },
  {
    id: '46',
    attack: '1 GiB to readers that stop, 500 of them',
    expected: 'at most 8 MiB for each; bounded',
    tests: [test('load/stalled', /\b46:/, '500 MB held and then complete; uploads too')],
    own: [SLOW_READERS],
  },
  {
    id: '47',
    attack: 'a stream silent for 310 s; pings, comments, pacing',
    expected: 'open; byte for byte; each event within 5 ms',
    tests: [
      test('waits', /\b47:.*(13 s|byte for byte|handed on)/, 'open after 13 s, byte for byte'),
      test('waits', /\b47:.*310 s/, 'open after 310 s', { long: true }),
      test('waits', /\b47: the head arrives/, 'the head waits for the first event', {
        otherwise: 'the head of an answer leaves with its first byte (oven-sh/bun#33660)',
      }),
    ],
    own: [EVENT_PACE],
  },
  {
    id: '48',
    attack: '1xx, 204, 304, HEAD, coded bodies, trailers',
    expected: 'bytes and lengths exact; no invented content-type',
    tests: [
      test('stream/bytes', /\b48:/, 'exact'),
      test('attack/answers', /attack 48:/, 'no body, no type'),
    ],
  },
  {
    id: '49',
    attack: '257 to 9,500 streams at once',
    expected: 'none stalls',
    tests: [test('load/streams', /\b49:/, '3,000 whole')],
    own: [CROWD],
  },
  {
    id: '50',
    attack: 'SIGTERM, twice; SIGKILL',
    expected: '503 on readyz, streams finish, exit 0; at once; 1 s of ledger at most',
    tests: [
      test('stream/drain', /\b50:/, 'as expected; the second ends it at once'),
      test('ledger/crash', /kill -9/, 'at most a second of rows'),
    ],
  },
  {
    id: '51',
    attack: 'an upstream that fails five times, and one that recovers',
    expected: '503 circuit_open within 1 ms, one probe, 4xx and aborts never trip it, apart',
    tests: [test('ledger/breaker', /./, 'as expected; the refusal in under 1 ms (median)')],
  },
  {
    id: '52',
    attack: 'no descriptors, no disk, no memory',
    expected: 'shed by 503; recovers without a restart',
    tests: [
      test('stream/shed', /\b52:/, '502 or unaccepted, then as before', {
        otherwise: 'out of descriptors it is 502, or left in the backlog by the accept loop of Bun',
      }),
      test('ledger/disk', /a full disk stops no request/, 'no request stopped, no row lost', {
        lacking: /mount/,
      }),
    ],
    own: [PRESSURE],
  },
  {
    id: '53',
    attack: 'line breaks, ANSI, 1 MB, bidi in everything that could be logged',
    expected: 'one bounded line; no subject, token or prompt',
    tests: [
      test('attack/log', /attack 53:/, 'one line, none of it'),
      test('attack/canary', /leaves none of its secrets/, 'nor in a whole session'),
    ],
  },
  {
    id: '54',
    attack: 'compression as an oracle',
    expected: 'never compressed here; Accept-Encoding goes along',
    tests: [
      test('stream/bytes', /\b48: \S+ stays \S+,/, 'a coded body stays as coded'),
      test('attack/headers', /attack 12:/, 'Accept-Encoding goes along'),
    ],
  },
  {
    id: '55',
    attack: '.env and bunfig.toml, TLS off, BUN_OPTIONS, a key file for all',
    expected: 'ignored, or no start',
    tests: [test('road/startup', /attack 55:/, 'as expected')],
  },
  {
    id: '56',
    attack: 'EHBP: no body, no key, no nonce, huge frames',
    expected: "forwarded untouched, the upstream's 400 and 422 too; no 2xx without a nonce",
    tests: [
      test('attack/sealed', /attack 56:/, 'as expected'),
      test('stream/bytes', /4 MB in one piece/, 'large bodies byte for byte'),
    ],
  },
  ...SLOW_HTTP.map(({ id, attack, expected, own }) => ({ id, attack, expected, own: [own] })),
  {
    id: 'M',
    attack: 'strangers of every kind, in numbers',
    expected: 'at most 10 times their own bytes in memory; no outbound connection',
    own: [STRANGERS],
  },
]
