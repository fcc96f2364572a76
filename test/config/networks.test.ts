// The proxies that are trusted: which entries are networks, and what is said of those that are none.

import { describe, expect, test } from 'bun:test'
import { addressKey } from '../../src/accept/address.ts'
import { cautions } from '../../src/config/cautions.ts'
import { networkMistake } from '../../src/config/networks.ts'
import { SETTINGS } from '../../src/config/table.ts'

const { read } = SETTINGS.trustedProxies.kind

describe('a network', () => {
  test.each([
    '10.0.0.1',
    '10.0.0.0/8',
    '0.0.0.0/0',
    '10.0.0.0/32',
    '::1',
    '2001:db8::/32',
    'FE80::/10',
    '::ffff:10.0.0.0/104',
    '10.0.0.0/8, ::1',
    'loopback',
    'private, linklocal',
  ])('takes %p', (text) => expect(read(text).ok).toBe(true))
  test.each([
    '',
    'abc',
    '10.0.0',
    '999.1.1.1',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    '::/129',
    'fe80::1%eth0',
    'lb.example',
    '10.0.0.1, x',
    '1',
    '10.0.0.0/1e1',
    'Private',
    'public',
    'private/8',
  ])('refuses %p', (text) => expect(read(text).ok).toBe(false))

  test('that is invalid is reported by its place and reason, and is not repeated', () => {
    expect(read('10.0.0.0/8, lb.example, ::1, 10.0.0.0/33')).toEqual({
      ok: false,
      message:
        'has mistakes in its list: entry 2 is not an address, a CIDR block or one of loopback, linklocal, private; entry 4 has an invalid prefix; IPv4 has /0 to /32',
      hint: 'give addresses, CIDR blocks as in 10.0.0.0/8, or loopback, linklocal, private',
    })
    expect(networkMistake('fe80::1%eth0')).toBe('has a zone; leave it out')
  })
})

test('names stand for their networks', () => {
  const behind = addressKey(['loopback', 'private'])
  for (const peer of ['127.0.0.1', '::1', '10.1.1.1', '172.31.0.1', '192.168.1.1', 'fd00::1']) {
    expect(behind(peer, '203.0.113.9')).toBe('203.0.113.9')
  }
  for (const peer of ['172.32.0.1', '169.254.1.1', '192.169.1.1', '8.8.8.8']) {
    expect(behind(peer, '203.0.113.9')).toBe(peer)
  }
})

test('trusting everybody causes a warning', () => {
  for (const entry of ['0.0.0.0/0', '::/0', '::ffff:0.0.0.0/96', '::ffff:a00:0/8']) {
    expect(cautions({ trustedProxies: ['10.0.0.0/8', entry] })).toEqual([
      'TRUSTED_PROXIES holds everybody: any client can give itself any address',
    ])
  }
  expect(cautions({ trustedProxies: ['private', '::ffff:10.0.0.0/104', '::/8'] })).toEqual([])
})
