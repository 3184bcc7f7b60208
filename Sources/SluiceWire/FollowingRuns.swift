import SluiceCore

/// A frame that brings one run of a producer, behind another of the same link.
package struct FollowingRun {
    package let firstSequence: UInt64
    package let eventCount: UInt32
    /// Where its records lie.
    package let records: Range<Int>
    /// Where the next frame begins.
    package let end: Int
}

extension ServerSession {
    /// Appends the frames from `start` on that are one more each of a producer of which `next` has
    /// just let one pass, until there are `most`.
    ///
    /// Who sends few events a frame sends the same frame again and again: what was asked of the
    /// first, and of its link, need not be asked again. Whatever else there is, legal or not, ends
    /// them and waits for `next`.
    package func appendFollowing(
        to runs: inout [FollowingRun],
        most: Int,
        on link: UInt32,
        in span: RawSpan,
        from start: Int
    ) {
        var next = start
        while runs.count < most, let run = followingRun(on: link, in: span, at: next) {
            if runs.isEmpty { runs.reserveCapacity(most) }
            runs.append(run)
            next = run.end
        }
    }

    @inline(__always)
    private func followingRun(on link: UInt32, in span: RawSpan, at start: Int) -> FollowingRun? {
        guard let header = FrameHeader.decode(from: span, at: start), header.link == link,
            header.type == FrameType.events.rawValue, header.flags == 0,
            header.length <= maxFrame
        else { return nil }
        let body = start + FrameHeader.byteCount
        guard span.byteCount - body >= header.length else { return nil }
        let end = body + header.length
        var fields = FieldReader(type: .events, in: body..<end)
        do throws(WireError) {
            let sequence: UInt64 = try fields.next(span)
            let run = try fields.run(from: span)
            guard fields.left == 0, !run.header.isNumbered else { return nil }
            return FollowingRun(
                firstSequence: sequence,
                eventCount: run.header.count,
                records: run.records,
                end: end
            )
        } catch { return nil }
    }
}
