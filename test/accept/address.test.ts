// Whose address a request counts under: what a stranger writes into X-Forwarded-For, and what the
// proxies on the list do.

import { cpuMs } from '../support/cost.ts'
import { describe, expect, test } from 'bun:test'
import { addressKey } from '../../src/accept/address.ts'
import { type Random, seeded } from '../support/random.ts'

const none = addressKey([])
const behind = addressKey(['10.0.0.0/8', '192.0.2.1', '2001:db8:ffff::/48'])

describe('with no proxy on the list', () => {
  test.each(['203.0.113.9', '203.0.113.9, 10.0.0.1', '127.0.0.1', '::1', 'x', '', ','])(
    'the claim %p changes nothing',
    (claim) => expect(none('198.51.100.7', claim)).toBe('198.51.100.7'),
  )
  test('not even if the peer is on loopback', () => {
    expect(none('127.0.0.1', '203.0.113.9')).toBe('127.0.0.1')
  })
})

describe('with proxies on the list', () => {
  for (const [name, peer, claim, key] of [
    ['a stranger who is no proxy is not believed', '198.51.100.7', '203.0.113.9', '198.51.100.7'],
    ['a proxy is believed', '10.1.2.3', '203.0.113.9', '203.0.113.9'],
    ['a proxy that is named alone is believed', '192.0.2.1', '203.0.113.9', '203.0.113.9'],
    ['its neighbour is not', '192.0.2.2', '203.0.113.9', '192.0.2.2'],
    [
      'only what a proxy wrote counts, not what the client put before it',
      '10.1.2.3',
      '1.1.1.1, 203.0.113.9',
      '203.0.113.9',
    ],
    [
      'a chain of proxies is followed to its first stranger',
      '10.1.2.3',
      '1.1.1.1, 203.0.113.9, 10.9.9.9, 192.0.2.1',
      '203.0.113.9',
    ],
    [
      'a chain that is proxies to its end is the first of them',
      '10.1.2.3',
      '10.9.9.8, 10.9.9.9',
      '10.9.9.8',
    ],
    ['no claim leaves the proxy itself', '10.1.2.3', null, '10.1.2.3'],
    ['an empty claim too', '10.1.2.3', '', '10.1.2.3'],
    ['what is not an address ends the chain', '10.1.2.3', '203.0.113.9, unknown', '10.1.2.3'],
    ['and does so in the middle of it', '10.1.2.3', '203.0.113.9, evil, 10.9.9.9', '10.9.9.9'],
    ['a mapped proxy is that proxy', '::ffff:10.1.2.3', '203.0.113.9', '203.0.113.9'],
    ['a mapped proxy in hexadecimal too', '::ffff:a01:203', '203.0.113.9', '203.0.113.9'],
    ['a proxy of IPv6', '2001:db8:ffff::1', '2001:db8:1:2::3', '2001:db8:1:2::/64'],
    ['spaces are nothing', '10.1.2.3', '  203.0.113.9  ', '203.0.113.9'],
  ] as const) {
    test(name, () => expect(behind(peer, claim)).toBe(key))
  }
  test('a claim of a megabyte costs nothing and gives nothing', async () => {
    const took = await cpuMs(() => {
      expect(behind('10.1.2.3', '10.0.0.1,'.repeat(120_000))).toBe('10.0.0.1')
      expect(behind('10.1.2.3', ','.repeat(1_000_000))).toBe('10.1.2.3')
      expect(behind('10.1.2.3', null, ';'.repeat(1_000_000))).toBe('10.1.2.3')
      expect(behind('10.1.2.3', null, 'for="'.repeat(200_000))).toBe('10.1.2.3')
      expect(behind('10.1.2.3', `203.0.113.9${', 10.0.0.1'.repeat(30)}`)).toBe('10.0.0.1')
    })
    expect(took).toBeLessThan(200)
  })
})

const PROXY = '10.1.2.3'

describe('a hop as balancers write it', () => {
  test.each([
    ['nginx, HAProxy, Traefik, Envoy', '203.0.113.9', '203.0.113.9'],
    ['an Azure gateway, with the port', '203.0.113.9:51234', '203.0.113.9'],
    ['an ALB that keeps the port, of IPv6', '[2001:db8:1:2::3]:51234', '2001:db8:1:2::/64'],
    ['in brackets alone', '[2001:db8:1:2::3]', '2001:db8:1:2::/64'],
    ['without brackets', '2001:db8:1:2::3', '2001:db8:1:2::/64'],
    ['in upper case', '2001:DB8:1:2::3', '2001:db8:1:2::/64'],
    ['mapped, from a dual-stack socket', '::ffff:203.0.113.9', '203.0.113.9'],
    ['mapped, in brackets with a port', '[::ffff:203.0.113.9]:51234', '203.0.113.9'],
    ['quoted', '"203.0.113.9"', '203.0.113.9'],
    ['quoted with a port', '"[2001:db8:1:2::3]:51234"', '2001:db8:1:2::/64'],
    ['behind what the client sent', '6.6.6.6, 203.0.113.9:51234', '203.0.113.9'],
    ['in lines of their own, joined by commas', '6.6.6.6,203.0.113.9', '203.0.113.9'],
    ['beside empty members', '6.6.6.6, ,\t203.0.113.9 ,, ', '203.0.113.9'],
    ["before the balancer's own, as GCP does", '6.6.6.6, 203.0.113.9, 192.0.2.1', '203.0.113.9'],
  ])('%s', (_, claim, key) => expect(behind(PROXY, claim)).toBe(key))

  test.each([
    'unknown',
    'UNKNOWN',
    '_hidden',
    '_SEVKISEK:1234',
    '-',
    'localhost',
    '203.0.113.9:',
    '203.0.113.9:x',
    '203.0.113.9:123456',
    '203.0.113.9:80:80',
    '203.0.113.999',
    '203.0.113',
    '3405803785',
    '0xcb007109',
    '203.0.113.09',
    '203.0.113.9/32',
    '[203.0.113.9]',
    '[203.0.113.9]:80',
    '[2001:db8::1',
    '2001:db8::1]',
    '[2001:db8::1]x',
    '[2001:db8::1]80',
    '[]:80',
    'http://203.0.113.9',
    '"203.0.113.9',
    "'203.0.113.9'",
    '203.0.113.9 203.0.113.8',
    '203.0.113.9;proto=https',
    'for=203.0.113.9',
    '203.0.113.9\u0000',
    '１.２.３.４',
  ])('%p is not an address, and what a client wrote before it is not believed', (hop) => {
    expect(behind(PROXY, `6.6.6.6, ${hop}`)).toBe(PROXY)
    expect(behind(PROXY, `6.6.6.6, ${hop}, 10.9.9.9`)).toBe('10.9.9.9')
  })
})

describe('Forwarded (RFC 7239)', () => {
  const forwarded = (header: string, peer = PROXY) => behind(peer, null, header)

  test.each([
    ['for=203.0.113.9', '203.0.113.9'],
    ['For=203.0.113.9', '203.0.113.9'],
    ['for="203.0.113.9"', '203.0.113.9'],
    ['for="203.0.113.9:47011"', '203.0.113.9'],
    ['for=203.0.113.9:47011', '203.0.113.9'],
    ['for="[2001:db8:1:2::17]"', '2001:db8:1:2::/64'],
    ['for="[2001:db8:1:2::17]:4711"', '2001:db8:1:2::/64'],
    ['for="[2001:db8:1:2::17]:_port"', '2001:db8:1:2::/64'],
    ['for="203.0.\\113.9"', '203.0.113.9'],
    ['for=203.0.113.9;proto=http;by=203.0.113.43', '203.0.113.9'],
    ['by="a,b;for=6.6.6.6";for=203.0.113.9; host="x"', '203.0.113.9'],
    ['proto=https ;for=203.0.113.9', '203.0.113.9'],
    ['for=6.6.6.6, for=203.0.113.9', '203.0.113.9'],
    ['for=6.6.6.6,for=203.0.113.9,for=192.0.2.1', '203.0.113.9'],
    ['for=6.6.6.6, , for=203.0.113.9, ,', '203.0.113.9'],
  ])('%p', (header, key) => expect(forwarded(header)).toBe(key))

  test.each([
    ['unknown', 'for=6.6.6.6, for=unknown'],
    ['obfuscated', 'for=6.6.6.6, for=_gazonk'],
    ['obfuscated and quoted', 'for=6.6.6.6, for="_gazonk"'],
    ['not said', 'for=6.6.6.6, proto=https'],
    ['empty', 'for=6.6.6.6, for='],
    ['said twice', 'for=6.6.6.6, for=203.0.113.9;for=6.6.6.6'],
    ['behind a quote that the client left open', 'for="6.6.6.6, for=203.0.113.9'],
    ['behind one that the proxy closed', 'for="x, for="[2001:db8::1]:80"'],
    ['behind one and an escape', 'for="\\", for="203.0.113.9"'],
    ['after a parameter without a value', 'for=6.6.6.6;x, for=unknown'],
    ['with blanks around its sign', 'for = 203.0.113.9'],
    ['an address alone', '203.0.113.9'],
  ])('%s: nothing before it is believed', (_, header) => expect(forwarded(header)).toBe(PROXY))

  test('of a stranger is a word like any other', () => {
    expect(forwarded('for=203.0.113.9', '198.51.100.7')).toBe('198.51.100.7')
  })
})

describe('both headers', () => {
  test('that agree are believed', () => {
    expect(behind(PROXY, '203.0.113.9', 'for=203.0.113.9')).toBe('203.0.113.9')
    expect(behind(PROXY, '2001:db8:1:2::3', 'for="[2001:db8:1:2::4]:80"')).toBe('2001:db8:1:2::/64')
  })
  test.each([
    ['203.0.113.9', 'for=6.6.6.6'],
    ['6.6.6.6', 'for=203.0.113.9'],
    ['203.0.113.9', 'for=unknown'],
    ['203.0.113.9', ''],
    ['unknown', 'for=6.6.6.6'],
    ['', 'for=6.6.6.6'],
  ])('that differ are not: %p and %p', (forwardedFor, forwarded) =>
    expect(behind(PROXY, forwardedFor, forwarded)).toBe(PROXY),
  )
})

describe('a list of proxies', () => {
  test('may name a mapped network', () => {
    const mapped = addressKey(['::ffff:10.0.0.0/104', '::ffff:192.0.2.1'])
    expect(mapped('10.1.2.3', '203.0.113.9')).toBe('203.0.113.9')
    expect(mapped('192.0.2.1', '203.0.113.9')).toBe('203.0.113.9')
    expect(mapped('11.1.2.3', '203.0.113.9')).toBe('11.1.2.3')
  })
  test('holds no address that is translated from one on it', () => {
    expect(behind('64:ff9b::10.1.2.3', '203.0.113.9')).toBe('10.1.2.3')
    expect(behind(PROXY, '6.6.6.6, 64:ff9b::10.1.2.3')).toBe('10.1.2.3')
  })
})

describe('one customer is one key', () => {
  test('an address translated from IPv4 is that address, and all of IPv4 is not one', () => {
    expect(none('64:ff9b::203.0.113.9', null)).toBe('203.0.113.9')
    expect(none('64:ff9b::cb00:710a', null)).toBe('203.0.113.10')
    expect(none('64:ff9b:1::203.0.113.9', null)).not.toBe(none('64:ff9b:1::203.0.113.10', null))
  })
  test('every address of an IPv6 /64, in every spelling', () => {
    for (const address of [
      '2001:db8:1:2::',
      '2001:db8:1:2::1',
      '2001:DB8:1:2:3:4:5:6',
      '2001:0db8:0001:0002:ffff:ffff:ffff:ffff',
      '2001:db8:1:2::192.0.2.1',
      '2001:db8:1:2:0:0:192.0.2.1',
    ]) {
      expect(none(address, null)).toBe('2001:db8:1:2::/64')
    }
    expect(none('2001:db8:1:3::1', null)).not.toBe('2001:db8:1:2::/64')
    expect(none('2001:db8::2:0:0:1', null)).toBe('2001:db8:0:0::/64')
    expect(none('fe80::1%eth0', null)).toBe('fe80:0:0:0::/64')
    expect(none('::1', null)).toBe('0:0:0:0::/64')
    expect(none('1::', null)).toBe('1:0:0:0::/64')
  })
  test('an IPv4 address, mapped in every spelling', () => {
    for (const address of [
      '192.0.2.9',
      '::ffff:192.0.2.9',
      '::FFFF:192.0.2.9',
      '::ffff:c000:209',
      '0:0:0:0:0:ffff:192.0.2.9',
      '0000:0000:0000:0000:0000:ffff:c000:0209',
    ]) {
      expect(none(address, null)).toBe('192.0.2.9')
    }
    expect(none('::ffff:0:192.0.2.9', null)).not.toBe('192.0.2.9')
  })
  test('no peer at all is one more customer', () => {
    expect(none(undefined, '203.0.113.9')).toBe('')
  })
})

test(
  'rotating inside a /64 gives one key, whatever the spelling',
  seeded((random) => {
    for (let round = 0; round < 500; round += 1) {
      const prefix = Array.from({ length: 4 }, () => random.pick([0, 1, random.int(65_536)]))
      if (prefix.every((group) => group === 0)) continue
      const keys = new Set(
        Array.from({ length: 5 }, () => {
          const rest = Array.from({ length: 4 }, () => random.pick([0, random.int(65_536)]))
          return none(spelled(random, [...prefix, ...rest]), null)
        }),
      )
      expect([...keys]).toEqual([`${prefix.map((group) => group.toString(16)).join(':')}::/64`])
    }
  }),
)

test(
  'no claim makes it throw, and none from a stranger is believed',
  seeded((random) => {
    const words = [
      '10.0.0.1',
      '203.0.113.9',
      '::1',
      '::ffff:10.0.0.1',
      'fe80::1%x',
      ',',
      ', ',
      ' ',
      '\0',
      'é',
      '"',
      'for=1.1.1.1',
      ':',
      '::',
      '1::2::3',
      '%',
      '[::1]:80',
    ]
    for (let round = 0; round < 3000; round += 1) {
      const claim = Array.from({ length: random.int(6) }, () => random.pick(words)).join('')
      expect(behind('198.51.100.7', claim)).toBe('198.51.100.7')
      expect(behind('10.1.2.3', claim)).toBeString()
      expect(none(random.pick(words), claim)).toBeString()
    }
  }),
)

/** One of the ways to write eight groups (RFC 4291 §2.2). */
function spelled({ int, pick }: Random, groups: readonly number[]): string {
  const texts = groups.map((group) => {
    const text = pick([group.toString(16), group.toString(16).padStart(4, '0')])
    return pick([text, text.toUpperCase()])
  })
  const start = int(8)
  let end = start
  while (end < 8 && groups[end] === 0) end += 1
  if (end - start < 2) return texts.join(':')
  return `${texts.slice(0, start).join(':')}::${texts.slice(end).join(':')}`
}
