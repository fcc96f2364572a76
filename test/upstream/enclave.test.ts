// Which enclave a client may choose, and where the connection to it goes (attack 19).

import { describe, expect, test } from 'bun:test'
import { isPublic } from '../../src/hosts.ts'
import { allowedHost, type Lookup, resolveEnclave } from '../../src/upstream/tinfoil/enclave.ts'
import { seeded } from '../support/random.ts'
import { namedValues } from '../support/named.ts'

const LIST = ['.tinfoil.sh', 'exact.example.com']

describe('a client may choose', () => {
  test.each([
    ['https://inference.tinfoil.sh', 'inference.tinfoil.sh'],
    ['https://inference.tinfoil.sh/', 'inference.tinfoil.sh'],
    ['https://a.b.c.tinfoil.sh', 'a.b.c.tinfoil.sh'],
    ['HTTPS://Inference.Tinfoil.SH', 'inference.tinfoil.sh'],
    ['https://exact.example.com', 'exact.example.com'],
  ])('%p', (url, host) => expect(allowedHost(url, LIST)).toBe(host))
})

describe('a client may not choose', () => {
  test.each(
    namedValues([
      '',
      'inference.tinfoil.sh',
      '//inference.tinfoil.sh',
      'http://inference.tinfoil.sh',
      'ws://inference.tinfoil.sh',
      'ftp://inference.tinfoil.sh',
      'https:inference.tinfoil.sh',
      'https:/inference.tinfoil.sh',
      'https:\\\\inference.tinfoil.sh',
      'https:///inference.tinfoil.sh',
      'https://tinfoil.sh',
      'https://.tinfoil.sh',
      'https://eviltinfoil.sh',
      'https://inference.tinfoil.sh.evil.com',
      'https://inference-tinfoil.sh',
      'https://evil.com',
      'https://evil.com/.tinfoil.sh',
      'https://evil.com#.tinfoil.sh',
      'https://evil.com?.tinfoil.sh',
      'https://evil.com\\.tinfoil.sh',
      'https://evil.com%2f.tinfoil.sh',
      'https://evil.com%00.tinfoil.sh',
      'https://evil.com\0.tinfoil.sh',
      'https://evil.com\n.tinfoil.sh',
      'https://evil.com .tinfoil.sh',
      'https://inference.tinfoil.sh.',
      'https://inference.tinfoil.sh..',
      'https://inference..tinfoil.sh',
      'https://inference.tinfoil.sh:443',
      'https://inference.tinfoil.sh:8443',
      'https://inference.tinfoil.sh:',
      'https://user@inference.tinfoil.sh',
      'https://user:pass@inference.tinfoil.sh',
      'https://@inference.tinfoil.sh',
      'https://inference.tinfoil.sh@evil.com',
      'https://inference.tinfoil.sh/path',
      'https://inference.tinfoil.sh//',
      'https://inference.tinfoil.sh/..',
      'https://inference.tinfoil.sh?x',
      'https://inference.tinfoil.sh#x',
      ' https://inference.tinfoil.sh',
      'https://inference.tinfoil.sh ',
      'https://inference.tinfoil.sh\n',
      'https://inference.tinfoil.sh\t',
      'https://inference.tinfoil.sh, https://evil.com',
      'https://inférence.tinfoil.sh',
      'https://inference。tinfoil。sh',
      'https://ｉnference.tinfoil.sh',
      'https://inference.tinfoil.sh\u200b',
      'https://a.exact.example.com',
      'https://exact.example.com.evil.com',
      'https://localhost',
      'https://127.0.0.1',
      'https://127.1',
      'https://2130706433',
      'https://0x7f000001',
      'https://0x7f.0.0.1',
      'https://0177.0.0.1',
      'https://017700000001',
      'https://169.254.169.254',
      'https://[::1]',
      'https://[::ffff:127.0.0.1]',
      'https://[fd00:ec2::254]',
      'https://metadata.google.internal',
      `https://${'a.'.repeat(130)}tinfoil.sh`,
    ]),
  )('%s', (_, url) => expect(allowedHost(url, LIST)).toBeUndefined())

  test('an address, even if a list names it', () => {
    const list = ['127.0.0.1', '0x7f.1', '1.0x7f000001', '169.254.169.254', '.0.0.1']
    for (const host of list) expect(allowedHost(`https://${host}`, list)).toBeUndefined()
    expect(allowedHost('https://127.0.0.1', ['.0.1'])).toBeUndefined()
  })

  test('every name, if the list is empty', () => {
    expect(allowedHost('https://inference.tinfoil.sh', [])).toBeUndefined()
  })
})

test(
  'whatever is let through is a host of the list, and a URL reads it the same',
  seeded((random) => {
    const pieces = [
      'https://',
      'http://',
      'inference',
      '.tinfoil.sh',
      'evil.com',
      '.',
      '/',
      '@',
      ':',
      '443',
      '#',
      '?',
      '\\',
      '%2e',
      '%00',
      ' ',
      '\t',
      '127.0.0.1',
      '0x7f',
      '[::1]',
      '-',
      '_',
      '。',
      'xn--',
      'ß',
      'É',
    ]
    let through = 0
    for (let round = 0; round < 20_000; round += 1) {
      const url =
        ['https://', ''][random.int(2)] +
        Array.from({ length: 1 + random.int(5) }, () => random.pick(pieces)).join('')
      const host = allowedHost(url, LIST)
      if (host === undefined) continue
      through += 1
      expect(host.endsWith('.tinfoil.sh') || host === 'exact.example.com').toBe(true)
      const parsed = new URL(url)
      expect([parsed.protocol, parsed.host, parsed.username]).toEqual(['https:', host, ''])
      expect([parsed.pathname, parsed.search, parsed.hash]).toEqual(['/', '', ''])
    }
    expect(through).toBeGreaterThan(0)
  }),
)

describe('addresses that are not for all are refused', () => {
  test.each([
    '0.0.0.0',
    '0.1.2.3',
    '10.0.0.1',
    '10.255.255.255',
    '100.64.0.1',
    '100.127.255.255',
    '127.0.0.1',
    '127.255.255.254',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.1',
    '192.0.2.1',
    '192.168.1.1',
    '198.18.0.1',
    '198.19.255.255',
    '198.51.100.1',
    '203.0.113.1',
    '224.0.0.1',
    '239.255.255.255',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:8.8.8.8',
    '::ffff:7f00:1',
    '::127.0.0.1',
    '64:ff9b::7f00:1',
    '64:ff9b:1::1',
    '100::1',
    '2001::1',
    '2001:db8::1',
    '2002:7f00:1::',
    '3fff::1',
    '5f00::1',
    'fc00::1',
    'fd00:ec2::254',
    'fe80::1',
    'fe80::1%eth0',
    'fec0::1',
    'ff02::1',
    '',
    'localhost',
    '127.1',
    '2130706433',
    '0x7f.0.0.1',
    '1.1.1.1 ',
    '[2606:4700::1]',
  ])('%p', (address) => expect(isPublic(address)).toBe(false))
})

test('addresses for all are taken', () => {
  for (const address of [
    '1.1.1.1',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '126.255.255.255',
    '128.0.0.1',
    '172.15.255.255',
    '172.32.0.0',
    '192.167.0.1',
    '198.17.0.1',
    '198.20.0.1',
    '223.255.255.255',
    '2606:4700::1111',
    '2a00::1',
    '2001:4860:4860::8888',
    '2400:cb00::1',
  ]) {
    expect([address, isPublic(address)]).toEqual([address, true])
  }
})

describe('a name', () => {
  const answers =
    (...addresses: string[]): Lookup =>
    async () =>
      addresses.map((address) => ({ address }))

  test('goes to the address that was checked, under its own name', async () => {
    const enclave = await resolveEnclave('a.tinfoil.sh', answers('1.1.1.1', '2606:4700::1'))
    expect(enclave?.address).toBe('1.1.1.1')
    expect(String(enclave?.url)).toBe('https://a.tinfoil.sh/')
  })

  test('with one private address among public ones goes nowhere', async () => {
    for (const addresses of [
      ['127.0.0.1'],
      ['1.1.1.1', '10.0.0.1'],
      ['::1', '1.1.1.1'],
      ['2606:4700::1', 'fe80::1'],
    ]) {
      expect(await resolveEnclave('a.tinfoil.sh', answers(...addresses))).toBeUndefined()
    }
  })

  test('without an address, or with an error for one, goes nowhere', async () => {
    expect(await resolveEnclave('a.tinfoil.sh', answers())).toBeUndefined()
    expect(
      await resolveEnclave('a.tinfoil.sh', () => Promise.reject(new Error('ENOTFOUND'))),
    ).toBeUndefined()
  })
})
