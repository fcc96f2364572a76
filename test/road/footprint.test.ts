// What the operator who downloads one file sees first: how soon it answers, what it weighs, and
// that nothing of the machine it was built on is in it.

import { expect, test } from 'bun:test'
import { connect } from 'node:net'
import { binary, passing, start } from '../support/binary.ts'
import { freePort } from '../support/anthropic.ts'

const SETTINGS = {
  HOST: '127.0.0.1',
  JWKS_URL: 'http://127.0.0.1:9/jwks.json',
  ISSUER: 'https://accounts.test',
  AUDIENCES: 'app',
  TINFOIL_API_KEY: 'key',
}

/** From exec to the first byte of a 200, polling the port from the first moment. */
async function firstAnswerMs(port: number): Promise<number> {
  const path = await binary()
  const began = performance.now()
  const child = Bun.spawn([path], {
    env: { ...SETTINGS, PORT: String(port), ...passing() },
    stdout: 'ignore',
    stderr: 'ignore',
  })
  try {
    while (performance.now() - began < 5000) {
      const status = await ask(port)
      if (status?.startsWith('HTTP/1.1 200')) return performance.now() - began
    }
    throw new Error('no answer within 5 s')
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

/** 50 ms on a machine of its own; beside other files' tests the best of nine says less. */
const FIRST_ANSWER_MS = process.env['POSTERN_LONG'] === '1' ? 50 : 150

test(`the first 200 comes within ${FIRST_ANSWER_MS} ms of exec`, async () => {
  const taken: number[] = []
  for (let run = 0; run < 9; run += 1) taken.push(await firstAnswerMs(await freePort()))
  // The best of nine is what the program takes; the others are what the machine was doing.
  expect(Math.min(...taken)).toBeLessThan(FIRST_ANSWER_MS)
})

test('idle, it holds less than 50 MB, three quarters of them its own file', async () => {
  const held: number[] = []
  for (let run = 0; run < 3; run += 1) {
    const gate = await start(SETTINGS)
    await Bun.sleep(300)
    held.push(gate.rssBytes())
    await gate.stop()
  }
  // As above: how much of the file the kernel maps at once is the machine's affair.
  expect(Math.min(...held)).toBeLessThan(50_000_000)
})

test('the folder it was built in is not in it, so that a build can be repeated elsewhere', async () => {
  const bytes = await Bun.file(await binary()).bytes()
  const folder = Buffer.from(new URL('../..', import.meta.url).pathname)
  expect(Buffer.from(bytes.buffer).includes(folder)).toBe(false)
})
