// Two equal upstreams under load, over the compiled binary: each gets as much as it gets done, and a
// conversation stays where its prompt cache is.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type FallbackScene, fallbackScene } from './scene.ts'
import { OK, type Taken } from './scripted-upstream.ts'

let at: FallbackScene
beforeAll(async () => {
  at = await fallbackScene(`fallback: [{ routes: [chat], from: [one, two], first: fewest }]
policies: [{ name: steady, keep_conversations: true }, { name: strict, fallback: false }]
limits: { circuit: { failures: 2, open_seconds: 30 } }`)
})
afterAll(() => at.close())

const chat = (...contents: string[]) => ({
  model: 'gpt-4o-mini',
  messages: contents.map((content, index) => ({ role: index % 2 ? 'assistant' : 'user', content })),
})

test('requests at once go to the one with fewer of them, and one alone to the first', async () => {
  const open = Promise.withResolvers<void>()
  const held = { ...OK, after: open.promise }
  at.one.say(held)
  at.two.say(held)
  const all = []
  for (let index = 0; index < 8; index++) {
    const before = at.one.taken.length + at.two.taken.length
    all.push(at.ask(chat(`${index}`)))
    // One after the other, as they would come.
    while (at.one.taken.length + at.two.taken.length === before) await Bun.sleep(1)
  }
  expect(at.reached()).toEqual([4, 4])
  open.resolve()
  expect((await Promise.all(all)).map(({ status }) => status)).toEqual(all.map(() => 200))
  at.one.say(OK)
  at.two.say(OK)
  for (let index = 0; index < 4; index++) await at.ask(chat('alone'))
  expect(at.reached()).toEqual([4, 0])
})

test('a conversation stays where it began, by its policy', async () => {
  const key = await at.key('steady', '--policy', 'steady')
  const places = new Map<string, Set<string>>()
  const noting =
    (name: string) =>
    ({ body }: Taken) => {
      const begun = String(JSON.parse(body).messages[0].content)
      places.set(begun, (places.get(begun) ?? new Set()).add(name))
      return OK
    }
  at.one.say(noting('one'))
  at.two.say(noting('two'))
  const begun = Array.from({ length: 16 }, (_, index) => `conversation ${index}`)
  await Promise.all(
    begun.map(async (first) => {
      await at.ask(chat(first), { key })
      await at.ask(chat(first, 'answer', 'more'), { key })
      await at.ask(chat(first, 'answer', 'more', 'another', 'and more'), { key })
    }),
  )
  expect([...places.values()].map(({ size }) => size)).toEqual(begun.map(() => 1))
  expect(new Set([...places.values()].flatMap((names) => Array.from(names)))).toEqual(
    new Set(['one', 'two']),
  )
})

test('a policy without fallback has the first, whatever runs there', async () => {
  const key = await at.key('strict', '--policy', 'strict')
  await Promise.all(Array.from({ length: 4 }, () => at.ask(chat('x'), { key })))
  expect(at.reached()).toEqual([4, 0])
})

test('an upstream that is gone draws nobody to it, having nothing to do', async () => {
  await at.one.down()
  const answers = await Promise.all(Array.from({ length: 4 }, () => at.ask(chat('down'))))
  const later = await at.ask(chat('later'))
  expect([...answers, later].map(({ status }) => status)).toEqual([200, 200, 200, 200, 200])
  // It was not even passed over: the other one came first.
  expect(await at.logged(later.id)).not.toHaveProperty('tried')
})
