import SluiceCore
import SluiceTestKit
import SluiceWire
import Testing

/// Decodes a whole frame as a connection would: the length first, then the body.
func decode(_ bytes: [UInt8]) throws -> (header: FrameHeader, frame: Frame) {
    let span = bytes.span.bytes
    let found = FrameHeader.decode(from: span, at: 0)
    let header = try #require(found)
    try header.checkLength(maximum: Limits.frameBytesMax)
    let range = FrameHeader.byteCount..<(FrameHeader.byteCount + header.length)
    try #require(range.upperBound == bytes.count, "the length names the bytes that follow")
    return (header, try Frame.decode(header, body: span, in: range))
}
