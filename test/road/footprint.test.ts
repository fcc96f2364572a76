// What the operator who downloads one file sees first: how soon it answers, what it weighs, and
// that nothing of the machine it was built on is in it.

import { expect, test } from 'bun:test'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { binary, passing } from '../support/binary.ts'
import { eventually } from '../support/sink.ts'
import { freePort } from '../support/anthropic.ts'

const SETTINGS = {
  HOST: '127.0.0.1',
  JWKS_URL: 'http://127.0.0.1:9/jwks.json',
  ISSUER: 'https://accounts.test',
  AUDIENCES: 'app',
  TINFOIL_API_KEY: 'key',
}

/** Its processor time from exec to the first byte of a 200: the clock would count the neighbours'. */
async function firstAnswerCpuMs(port: number): Promise<number> {
  const path = await binary()
  const child = Bun.spawn([path], {
    env: { ...SETTINGS, PORT: String(port), ...passing() },
    stdout: 'ignore',
    stderr: 'ignore',
  })
  try {
    await eventually(async () => (await ask(port))?.startsWith('HTTP/1.1 200'))
    return cpuMsOf(child.pid)
  } finally {
    child.kill('SIGKILL')
    await child.exited
  }
}

function ask(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write('GET /health HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n')
    })
    socket.once('data', (data) => {
      resolve(data.toString('latin1'))
      socket.destroy()
    })
    socket.once('error', () => setTimeout(resolve, 1, undefined))
  })
}

/** User and system time of a process; Linux, where a tick of the kernel's clock is 10 ms. */
function cpuMsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** Some 40 on a quiet machine; what it is on the clock, `just bench` measures. */
const FIRST_ANSWER_CPU_MS = 150

test('the first 200 costs little', async () => {
  const taken: number[] = []
  for (let run = 0; run < 5; run += 1) taken.push(await firstAnswerCpuMs(await freePort()))
  expect(Math.min(...taken)).toBeLessThan(FIRST_ANSWER_CPU_MS)
})

const PAGE_BYTES = 4096

/**
 * A copy written page by page, so that the kernel keeps it in single pages. What a build or a copy
 * writes in one piece may be kept in large ones; of these the kernel maps megabytes around each byte
 * that is touched, and the same program holds 47 MB or 59.
 */
async function inSinglePages(folder: string): Promise<string> {
  const bytes = await Bun.file(await binary()).bytes()
  const path = join(folder, 'postern')
  const file = openSync(path, 'w', 0o755)
  for (let at = 0; at < bytes.byteLength; at += PAGE_BYTES) {
    writeSync(file, bytes, at, Math.min(PAGE_BYTES, bytes.byteLength - at))
  }
  closeSync(file)
  return path
}

async function idleBytes(path: string, port: number): Promise<number> {
  const env = { ...SETTINGS, PORT: String(port), ...passing() }
  const child = Bun.spawn([path], { env, stdout: 'ignore', stderr: 'ignore' })
  try {
    await eventually(async () => (await ask(port))?.startsWith('HTTP/1.1 200'))
    await Bun.sleep(300)
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
  } finally {
    child.kill('SIGKILL')
    await child.exited
  }
}

test('idle, it holds less than 50 MB, three quarters of them its own file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-footprint-'))
  try {
    const path = await inSinglePages(folder)
    const held: number[] = []
    for (let run = 0; run < 3; run += 1) held.push(await idleBytes(path, await freePort()))
    expect(Math.min(...held)).toBeLessThan(50_000_000)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('the folder it was built in is not in it, so that a build can be repeated elsewhere', async () => {
  const bytes = await Bun.file(await binary()).bytes()
  const folder = Buffer.from(new URL('../..', import.meta.url).pathname)
  expect(Buffer.from(bytes.buffer).includes(folder)).toBe(false)
})
