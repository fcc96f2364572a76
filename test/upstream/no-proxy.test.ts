// NO_PROXY by curl's own examples, and by what others have read into it.

import { expect, test } from 'bun:test'
import { noProxy } from '../../src/http1/no-proxy.ts'

test.each([
  ['', 'example.com', 443, false],
  ['*', 'example.com', 443, true],
  ['a, * ,b', '10.0.0.1', 80, true],
  ['example.com', 'example.com', 443, true],
  ['example.com', 'EXAMPLE.com.', 443, true],
  ['example.com', 'www.example.com', 443, true],
  ['example.com', 'nonexample.com', 443, false],
  ['example.com', 'example.com.evil.test', 443, false],
  ['.example.com', 'example.com', 443, true],
  ['.example.com', 'www.example.com', 443, true],
  ['*.example.com', 'www.example.com', 443, true],
  ['example.com.', 'www.example.com', 443, true],
  ['one.test two.test\tthree.test', 'two.test', 443, true],
  ['one.test,,three.test', 'three.test', 443, true],
  ['localhost', 'localhost', 8080, true],
  ['example.com:443', 'example.com', 443, true],
  ['example.com:443', 'example.com', 8443, false],
  ['10.0.0.1', '10.0.0.1', 80, true],
  ['10.0.0.1:8080', '10.0.0.1', 80, false],
  ['10.0.0.0/8', '10.255.1.2', 80, true],
  ['10.0.0.0/8', '11.0.0.1', 80, false],
  ['10.0.0.0/8', 'ten.test', 80, false],
  ['192.168.1.7/32', '192.168.1.7', 80, true],
  ['0.0.0.0/0', '192.168.1.7', 80, true],
  ['10.0.0.0/33', '10.0.0.0', 80, false],
  ['10.0.0.0/x', '10.0.0.0', 80, false],
  ['::1', '::1', 80, true],
  ['[::1]', '::1', 80, true],
  ['[::1]:80', '::1', 80, true],
  ['[::1]:80', '::1', 81, false],
  ['fd00::/8', 'fd12:3456::1', 80, true],
  ['fd00::/8', 'fe80::1', 80, false],
  ['0.1', '10.0.0.1', 80, false],
  ['.', 'example.com', 80, false],
  [':', 'example.com', 80, false],
  [':80', 'example.com', 80, false],
  ['http://example.com', 'example.com', 80, false],
])('%p, %s:%i: %p', (list, host, port, past) => {
  expect(noProxy(list)(host, port)).toBe(past)
})
