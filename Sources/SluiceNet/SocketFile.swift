import Glibc

/// The file that a listening unix socket shows in the file system.
struct SocketFile: Sendable {
    /// The owner and the group may connect.
    private static let mode: mode_t = 0o660

    private let path: String
    private let device: dev_t
    private let inode: ino_t

    /// Binds, in the place of a file that a dead process left behind.
    init(
        binding descriptor: Descriptor,
        to address: SocketAddress,
        path: String
    ) throws(SystemError) {
        do {
            try Listener.bind(descriptor, to: address)
        } catch {
            guard error.code == EADDRINUSE, Self.isStale(address, path: path) else { throw error }
            unlink(path)
            try Listener.bind(descriptor, to: address)
        }
        self.path = path
        // Nobody can connect before `listen`, so the mode is never seen wider than this.
        do {
            try checking("chmod") { chmod(path, Self.mode) }
            let status = try Self.status(of: path)
            device = status.st_dev
            inode = status.st_ino
        } catch {
            unlink(path)
            throw error
        }
    }

    /// Removes the file, unless another process has put its own in its place.
    func remove() {
        guard let status = try? Self.status(of: path) else { return }
        if status.st_dev == device, status.st_ino == inode { unlink(path) }
    }

    /// True for a socket nobody listens on; a refused connect alone does not tell, for an ordinary
    /// file refuses too.
    private static func isStale(_ address: SocketAddress, path: String) -> Bool {
        guard let status = try? status(of: path), status.st_mode & S_IFMT == S_IFSOCK else {
            return false
        }
        do {
            _ = try Socket.connecting(to: address)
            return false
        } catch {
            return error.code == ECONNREFUSED
        }
    }

    private static func status(of path: String) throws(SystemError) -> stat {
        var status = stat()
        try checking("lstat") { lstat(path, &status) }
        return status
    }
}
