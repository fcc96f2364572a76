// Every regular expression that is written in a TypeScript source: a lexer that knows no more of the
// language than where comments, strings, templates and expressions begin and end.

export interface Literal {
  readonly file: string
  readonly line: number
  readonly regex: RegExp
}

/** After the end of a value a slash divides; after everything else it begins an expression. */
const VALUE_END = /[\w$)\]}"'`]/
/** Words that end like a value and are none. */
const KEYWORDS = new Set('return typeof case in of do else void delete throw new await'.split(' '))

export function regexLiterals(file: string, source: string): Literal[] {
  const found: Literal[] = []
  let at = 0
  /** The last sign that was neither blank nor comment, and the word that it ends. */
  let last = ''
  let word = ''
  /** For each open template, how many braces are open in its present expression. */
  const templates: number[] = []

  const skipString = (quote: string): void => {
    at += 1
    while (at < source.length && source[at] !== quote) at += source[at] === '\\' ? 2 : 1
    at += 1
    last = quote
  }
  const skipTemplate = (): void => {
    while (at < source.length && source[at] !== '`') {
      if (source.startsWith('${', at)) {
        templates.push(0)
        at += 2
        last = '{'
        return
      }
      at += source[at] === '\\' ? 2 : 1
    }
    at += 1
    last = '`'
  }
  const readRegex = (): void => {
    const start = at
    let inClass = false
    for (at += 1; inClass || source[at] !== '/'; at += 1) {
      const sign = source[at]
      if (sign === undefined || sign === '\n') throw new Error(`${file}: no expression at ${start}`)
      if (sign === '\\') at += 1
      else if (sign === '[') inClass = true
      else if (sign === ']') inClass = false
    }
    const pattern = source.slice(start + 1, at)
    const flags = /^[a-z]*/.exec(source.slice(at + 1, at + 10))?.[0] ?? ''
    const line = source.slice(0, start).split('\n').length
    found.push({ file, line, regex: new RegExp(pattern, flags) })
    at += 1 + flags.length
    last = ')'
  }
  const isDivision = (): boolean =>
    VALUE_END.test(last) && !(/[\w$]/.test(last) && KEYWORDS.has(word))

  while (at < source.length) {
    const sign = source[at] as string
    const open = templates.length - 1
    if (source.startsWith('//', at)) at = after(source, '\n', at)
    else if (source.startsWith('/*', at)) at = after(source, '*/', at + 2)
    else if (sign === '"' || sign === "'") skipString(sign)
    else if (sign === '`') {
      at += 1
      skipTemplate()
    } else if (sign === '/' && !isDivision()) readRegex()
    else if (sign === '}' && templates[open] === 0) {
      templates.pop()
      at += 1
      skipTemplate()
    } else {
      if (open >= 0 && sign === '{') templates[open] = (templates[open] ?? 0) + 1
      if (open >= 0 && sign === '}') templates[open] = (templates[open] ?? 0) - 1
      const isWord = /[\w$]/.test(sign)
      if (isWord) word = /[\w$.]/.test(source[at - 1] ?? '') ? word + sign : sign
      if (!/\s/.test(sign)) last = sign
      if (!isWord && !/\s/.test(sign)) word = sign === '.' ? '.' : ''
      at += 1
    }
  }
  return found
}

function after(source: string, what: string, from: number): number {
  const end = source.indexOf(what, from)
  return end < 0 ? source.length : end + what.length
}
