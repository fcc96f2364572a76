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
  test('not even where the peer is on loopback', () => {
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
    ['what is no address ends the chain', '10.1.2.3', '203.0.113.9, unknown', '10.1.2.3'],
    ['and does so in the middle of it', '10.1.2.3', '203.0.113.9, evil, 10.9.9.9', '10.9.9.9'],
    ['an address with a port is none', '10.1.2.3', '203.0.113.9:80', '10.1.2.3'],
    ['a mapped proxy is that proxy', '::ffff:10.1.2.3', '203.0.113.9', '203.0.113.9'],
    ['a mapped proxy in hexadecimal too', '::ffff:a01:203', '203.0.113.9', '203.0.113.9'],
    ['a proxy of IPv6', '2001:db8:ffff::1', '2001:db8:1:2::3', '2001:db8:1:2::/64'],
    ['spaces are nothing', '10.1.2.3', '  203.0.113.9  ', '203.0.113.9'],
  ] as const) {
    test(name, () => expect(behind(peer, claim)).toBe(key))
  }
  test('a claim of a megabyte costs nothing and gives nothing', async () => {
    const took = await cpuMs(() => {
      expect(behind('10.1.2.3', '10.0.0.1,'.repeat(120_000))).toBe('10.1.2.3')
      expect(behind('10.1.2.3', `203.0.113.9${', 10.0.0.1'.repeat(30)}`)).toBe('10.0.0.1')
    })
    expect(took).toBeLessThan(200)
  })
})

describe('one customer is one key', () => {
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
