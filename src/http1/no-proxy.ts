// NO_PROXY as curl reads it, plus ports and networks as other programs do: which hosts bypass the proxy.
// An entry of any other form matches nothing.

import { BlockList, isIP } from 'node:net'

interface NoProxyEntry {
  readonly matches: (hostname: string) => boolean
  readonly port: number | undefined
}

export function noProxy(list: string): (hostname: string, port: number) => boolean {
  const entries = list
    .split(/[\s,]+/)
    .filter((each) => each !== '')
    .map(entryOf)
  return (hostname, port) => {
    const name = hostname.toLowerCase().replace(/\.$/, '')
    return entries.some((each) => (each.port ?? port) === port && each.matches(name))
  }
}

function entryOf(text: string): NoProxyEntry {
  if (text === '*') return { matches: () => true, port: undefined }
  const [, bracketed, plain = '', digits] =
    /^(?:\[([0-9a-f:.]+)\]|(.*?))(?::(\d{1,5}))?$/i.exec(isIP(text) === 6 ? `[${text}]` : text) ??
    []
  const port = digits === undefined ? undefined : Number(digits)
  const host = (bracketed ?? plain).toLowerCase()
  const [address = '', bits] = host.split('/')
  const family = isIP(address)
  if (family !== 0) return { matches: inNetwork(address, family, bits), port }
  // `.example.com`, `*.example.com` and `example.com` are all the name and what is under it.
  const name = host.replace(/^\*?\./, '').replace(/\.$/, '')
  return {
    matches: (hostname) =>
      name !== '' && isIP(hostname) === 0 && (hostname === name || hostname.endsWith(`.${name}`)),
    port,
  }
}

function inNetwork(
  address: string,
  family: number,
  bits: string | undefined,
): NoProxyEntry['matches'] {
  const widest = family === 4 ? 32 : 128
  const prefix = bits === undefined ? widest : /^\d{1,3}$/.test(bits) ? Number(bits) : -1
  if (prefix < 0 || prefix > widest) return () => false
  const kind = family === 4 ? 'ipv4' : 'ipv6'
  const network = new BlockList()
  network.addSubnet(address, prefix, kind)
  return (hostname) => isIP(hostname) === family && network.check(hostname, kind)
}
