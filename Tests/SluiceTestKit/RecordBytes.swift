/// The bytes of one record, for tests of what looks into it.
package func recordBytes(
    key: String? = nil,
    headers: [(name: String, value: String)] = [],
    payload: String = "payload"
) -> [UInt8] {
    var body: [UInt8] = []
    if let key { body += withLength(Array(key.utf8)) }
    if !headers.isEmpty {
        let block = headers.flatMap { header in
            [UInt8(header.name.utf8.count)] + Array(header.name.utf8)
                + withLength(Array(header.value.utf8))
        }
        body += withLength(block)
    }
    body += Array(payload.utf8)
    let flags: UInt8 = (key == nil ? 0 : 1) | (headers.isEmpty ? 0 : 2)
    return [
        flags, UInt8(body.count >> 16), UInt8(body.count >> 8 & 0xFF), UInt8(body.count & 0xFF),
    ]
        + body
}

private func withLength(_ bytes: [UInt8]) -> [UInt8] {
    [UInt8(bytes.count >> 8), UInt8(bytes.count & 0xFF)] + bytes
}
