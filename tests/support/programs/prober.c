/* A service that looks around: what was it given, who is it, what can it open, whom can it talk to?
 * Writes one JSON document to probe.json in its working directory (under another name first), then
 * stays. Arguments: paths to open, and sockets as "socket:PATH". */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static FILE *out;

static void print_text(const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 32 || c > 126)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void print_descriptors(void)
{
    fprintf(out, "\"descriptors\": {");
    DIR *dir = opendir("/proc/self/fd");
    const char *separator = "";
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] == '.' || fd == dirfd(dir) || fd == fileno(out))
            continue;
        char target[4096] = "";
        ssize_t size = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        if (size < 0)
            continue;
        fprintf(out, "%s\"%d\": ", separator, fd);
        print_text(target);
        separator = ", ";
    }
    if (dir != NULL)
        closedir(dir);
    fprintf(out, "}");
}

static void print_status(void)
{
    static const char *const keys[] = { "CapInh", "CapPrm",     "CapEff", "CapBnd",
                                        "CapAmb", "NoNewPrivs", "NSpid" };
    FILE *status = fopen("/proc/self/status", "r");
    char line[512];
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
            size_t size = strlen(keys[i]);
            if (strncmp(line, keys[i], size) != 0 || line[size] != ':')
                continue;
            line[strcspn(line, "\n")] = '\0';
            fprintf(out, ", \"%s\": ", keys[i]);
            print_text(line + size + 1 + strspn(line + size + 1, " \t"));
        }
    if (status != NULL)
        fclose(status);
}

static void print_processes(void)
{
    fprintf(out, ", \"processes\": [");
    DIR *dir = opendir("/proc");
    const char *separator = "";
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        if (strspn(entry->d_name, "0123456789") == strlen(entry->d_name)) {
            fprintf(out, "%s%s", separator, entry->d_name);
            separator = ", ";
        }
    if (dir != NULL)
        closedir(dir);
    fprintf(out, "]");
}

static const char *try_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return strerrorname_np(errno);
    close(fd);
    return "open";
}

/* "TYPE..." as msgpack: only what the three requests below need. */
static unsigned char packed[512];
static size_t packed_size;

static void pack_byte(unsigned char byte)
{
    packed[packed_size++] = byte;
}

static void pack_text(const char *text)
{
    size_t size = strlen(text);
    if (size < 32) {
        pack_byte((unsigned char)(0xa0 | size));
    } else {
        pack_byte(0xd9);
        pack_byte((unsigned char)size);
    }
    memcpy(packed + packed_size, text, size);
    packed_size += size;
}

static void pack_request(const char *method, int fields)
{
    packed_size = 0;
    pack_byte(0x94);
    pack_byte(0);
    pack_byte(1);
    pack_text(method);
    pack_byte(0x91);
    pack_byte((unsigned char)(0x80 | fields));
}

/* Connects, sends what is packed, and says how the answer looks: "ok", the code of the error, or
 * what failed on the way. */
static const char *ask(const char *path)
{
    static char answer[65536];
    static char code[64];
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof address.sun_path)
        return "ENAMETOOLONG";
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = { .tv_sec = 5 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        const char *name = strerrorname_np(errno);
        close(fd);
        return name;
    }
    if (write(fd, packed, packed_size) != (ssize_t)packed_size) {
        close(fd);
        return "cannot send";
    }
    ssize_t size = read(fd, answer, sizeof answer - 1);
    close(fd);
    if (size < 4)
        return "no answer";
    /* [1, msgid, error, result]: an error is a map, none is nil */
    if ((unsigned char)answer[3] == 0xc0)
        return "ok";
    char *found = memmem(answer, (size_t)size,
                         "\xa4"
                         "code",
                         5);
    if (found == NULL)
        return "error without a code";
    size_t length = (unsigned char)found[5] & 0x1f;
    if (length >= sizeof code)
        return "strange code";
    memcpy(code, found + 6, length);
    code[length] = '\0';
    return code;
}

static void print_socket(const char *path)
{
    fprintf(out, "{\"path\": ");
    print_text(path);
    pack_request("daemon.describe", 0);
    fprintf(out, ", \"describe\": ");
    print_text(ask(path));
    pack_request("event.append", 1);
    pack_text("type");
    pack_text("service_killed");
    fprintf(out, ", \"append\": ");
    print_text(ask(path));
    pack_request("event.append", 1);
    pack_text("type");
    pack_text("app.probe");
    fprintf(out, ", \"append_app\": ");
    print_text(ask(path));
    pack_request("service.list", 0);
    fprintf(out, ", \"list\": ");
    print_text(ask(path));
    pack_request("system.drain", 0);
    fprintf(out, ", \"drain\": ");
    print_text(ask(path));
    pack_request("supervisor.list", 0);
    fprintf(out, ", \"supervisor\": ");
    print_text(ask(path));
    fprintf(out, "}");
}

int main(int argc, char **argv)
{
    out = fopen("probe.json.new", "we");
    if (out == NULL)
        return 1;
    fprintf(out, "{");
    print_descriptors();
    uid_t uids[3];
    gid_t gids[3];
    getresuid(&uids[0], &uids[1], &uids[2]);
    getresgid(&gids[0], &gids[1], &gids[2]);
    fprintf(out, ", \"uids\": [%u, %u, %u], \"gids\": [%u, %u, %u]", uids[0], uids[1], uids[2],
            gids[0], gids[1], gids[2]);
    fprintf(out, ", \"groups\": %d, \"pid\": %d, \"sid\": %d", getgroups(0, NULL), getpid(),
            getsid(0));
    print_status();
    print_processes();
    char cwd[4096] = "";
    if (getcwd(cwd, sizeof cwd) == NULL)
        return 1;
    fprintf(out, ", \"cwd\": ");
    print_text(cwd);
    fprintf(out, ", \"environment\": [");
    extern char **environ;
    for (char **entry = environ; *entry != NULL; entry++) {
        fprintf(out, "%s", entry == environ ? "" : ", ");
        print_text(*entry);
    }
    fprintf(out, "], \"setuid\": ");
    print_text(setuid(0) == 0 ? "ok" : strerrorname_np(errno));
    /* both are harmless where they are allowed */
    fprintf(out, ", \"chroot\": ");
    print_text(chroot("/") == 0 ? "ok" : strerrorname_np(errno));
    fprintf(out, ", \"signal_init\": ");
    print_text(kill(1, 0) == 0 ? "ok" : strerrorname_np(errno));
    fprintf(out, ", \"paths\": {");
    const char *separator = "";
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "socket:", 7) == 0)
            continue;
        fprintf(out, "%s", separator);
        separator = ", ";
        print_text(argv[i]);
        fprintf(out, ": {\"read\": ");
        print_text(try_open(argv[i], O_RDONLY));
        fprintf(out, ", \"write\": ");
        print_text(try_open(argv[i], O_RDWR));
        fprintf(out, "}");
    }
    fprintf(out, "}, \"sockets\": [");
    separator = "";
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "socket:", 7) != 0)
            continue;
        fprintf(out, "%s", separator);
        separator = ", ";
        print_socket(argv[i] + 7);
    }
    fprintf(out, "]}\n");
    if (fclose(out) != 0 || rename("probe.json.new", "probe.json") != 0)
        return 1;
    for (;;)
        pause();
}
