// RFC 8259 read by hand, for oracles: an object of UTF-8 text whose members, at any depth, appear
// once. It shares nothing with what the gate reads by, JSON.parse included.

type Value = null | boolean | number | string | Value[] | { [name: string]: Value }

class NotStrict extends Error {}

export function strictJson(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    const reader = new Reader(text)
    const value = reader.value()
    reader.space()
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    return reader.at === text.length && isObject ? value : undefined
  } catch {
    return undefined
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
}

class Reader {
  at = 0
  readonly text: string

  constructor(text: string) {
    this.text = text
  }

  space(): void {
    while (' \t\r\n'.includes(this.text[this.at] ?? 'x')) this.at += 1
  }

  value(): Value {
    this.space()
    const char = this.text[this.at]
    if (char === '{') return this.object()
    if (char === '[') return this.array()
    if (char === '"') return this.string()
    for (const [word, value] of [
      ['true', true],
      ['false', false],
      ['null', null],
    ] as const) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length
        return value
      }
    }
    return this.number()
  }

  private take(char: string): void {
    this.space()
    if (this.text[this.at] !== char) throw new NotStrict()
    this.at += 1
  }

  private sees(char: string): boolean {
    this.space()
    return this.text[this.at] === char
  }

  private object(): Value {
    const found: { [name: string]: Value } = Object.create(null)
    this.take('{')
    if (!this.sees('}')) {
      for (;;) {
        this.space()
        const name = this.string()
        if (name in found) throw new NotStrict()
        this.take(':')
        found[name] = this.value()
        if (!this.sees(',')) break
        this.take(',')
      }
    }
    this.take('}')
    return found
  }

  private array(): Value {
    const found: Value[] = []
    this.take('[')
    if (!this.sees(']')) {
      for (;;) {
        found.push(this.value())
        if (!this.sees(',')) break
        this.take(',')
      }
    }
    this.take(']')
    return found
  }

  private string(): string {
    this.take('"')
    let found = ''
    for (;;) {
      const char = this.text[this.at]
      if (char === undefined || char < ' ') throw new NotStrict()
      this.at += 1
      if (char === '"') return found
      found += char === '\\' ? this.escape() : char
    }
  }

  private escape(): string {
    const char = this.text[this.at] ?? ''
    this.at += 1
    if (char !== 'u') {
      const found = ESCAPES[char]
      if (found === undefined) throw new NotStrict()
      return found
    }
    const hex = this.text.slice(this.at, this.at + 4)
    if (!/^[0-9a-fA-F]{4}$/.test(hex)) throw new NotStrict()
    this.at += 4
    return String.fromCharCode(Number.parseInt(hex, 16))
  }

  private number(): number {
    const found = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/.exec(
      this.text.slice(this.at, this.at + 400),
    )?.[0]
    if (found === undefined) throw new NotStrict()
    this.at += found.length
    return Number(found)
  }
}
