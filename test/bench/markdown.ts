// Tables of Markdown, and the place in a text that holds one.

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`
  // The first column is words, the others are figures.
  const rule = head.map((_, column) => (column === 0 ? '---' : '--:'))
  return line(head) + line(rule) + rows.map(line).join('')
}

/** `<!-- name -->…<!-- /name -->` holds `content`; undefined where the text has no such place. */
export function withBlock(text: string, name: string, content: string): string | undefined {
  const open = `<!-- ${name} -->\n`
  const close = `<!-- /${name} -->`
  const from = text.indexOf(open)
  const to = text.indexOf(close, from)
  if (from === -1 || to === -1) return undefined
  return `${text.slice(0, from + open.length)}\n${content.trim()}\n\n${text.slice(to)}`
}
