// The message if nothing is configured yet: how to try postern, and the ways to run it.

import { KEYS, type Need, settingOf } from './table.ts'

const WAYS: readonly (readonly [what: string, needs: readonly Need[]])[] = [
  ['Tinfoil, for users of yours', ['Tinfoil', 'user tokens']],
  ['Anthropic, for devices', ['Anthropic', 'devices']],
  ['any other server', ['OpenAI', 'user tokens']],
  ['one person, who signs in', ['signing in']],
]
const WHAT_WIDTH = 29
const WIDTH = 80

export function waysToRun(): string {
  const ways = WAYS.map(([what, needs]) => {
    const names = KEYS.map(settingOf).filter(({ required }) => required && needs.includes(required))
    return `  ${what.padEnd(WHAT_WIDTH)}${wrapped(names.map(({ env }) => env))}\n`
  })
  return `
To try it, with no account and no network:

  postern --dev-mode

The ways to run it, each by what it needs:

${ways.join('')}
postern --help explains every setting, and postern check tries them.
`
}

function wrapped(names: readonly string[]): string {
  let text = ''
  let column = 2 + WHAT_WIDTH
  for (const [at, name] of names.entries()) {
    const word = at === names.length - 1 ? name : `${name}, `
    if (column + word.trimEnd().length > WIDTH) {
      text = `${text.trimEnd()}\n${' '.repeat(2 + WHAT_WIDTH)}`
      column = 2 + WHAT_WIDTH
    }
    text += word
    column += word.length
  }
  return text
}
