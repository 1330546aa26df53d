/* A server without latency: answers every POST at once with a prepared stream of 16 tokens, so that only the client costs time.
 *
 *   zero_server [together|apart]
 *
 * together: a reply is one write; apart: every token is a write of its own. Prints its port; ends when its standard input does.
 * One thread, epoll, keep-alive. It believes its clients: a request is a head with Content-Length and that much body.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TOKENS = 16, PIECES = TOKENS + 2, ROOM = 1 << 16, EVENTS = 256, FILES = 65536 };

struct connection { size_t filled; char in[ROOM]; };
static struct connection *connections[FILES];
static char pieces[PIECES][1024];
static size_t lengths[PIECES];
static char whole[PIECES * 1024];
static size_t whole_length;

static void add_piece(int place, const char *head, const char *event, const char *tail) {
    lengths[place] = (size_t)snprintf(pieces[place], sizeof pieces[place], "%s%zx\r\n%s\r\n%s", head, strlen(event), event, tail);
    memcpy(whole + whole_length, pieces[place], lengths[place]);
    whole_length += lengths[place];
}

static void prepare(void) {
    const char *head = "HTTP/1.1 200 OK\r\nServer: zero\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                       "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
    char event[800];
    for (int token = 0; token < TOKENS; token++) {
        snprintf(event, sizeof event,
                 "data: {\"id\":\"cmpl-0\",\"object\":\"text_completion\",\"created\":1,\"model\":\"zero\",\"choices\":[{\"index\":0,"
                 "\"text\":\" token\",\"logprobs\":null,\"finish_reason\":%s,\"stop_reason\":null}],\"usage\":null}\n\n",
                 token == TOKENS - 1 ? "\"length\"" : "null");
        add_piece(token, token ? "" : head, event, "");
    }
    add_piece(TOKENS, "",
              "data: {\"id\":\"cmpl-0\",\"object\":\"text_completion\",\"created\":1,\"model\":\"zero\",\"choices\":[],"
              "\"usage\":{\"prompt_tokens\":4,\"total_tokens\":20,\"completion_tokens\":16}}\n\n", "");
    add_piece(TOKENS + 1, "", "data: [DONE]\n\n", "0\r\n\r\n");
}

static int put(int fd, const char *data, size_t length) {
    while (length) {
        ssize_t written = send(fd, data, length, MSG_NOSIGNAL);
        if (written < 0) {
            if (errno == EAGAIN || errno == EINTR) continue;
            return -1;
        }
        data += written;
        length -= (size_t)written;
    }
    return 0;
}

static int reply(int fd, int apart) {
    if (!apart) return put(fd, whole, whole_length);
    for (int place = 0; place < PIECES; place++)
        if (put(fd, pieces[place], lengths[place])) return -1;
    return 0;
}

/* Bytes of the first whole request in the buffer; 0 when more must come. */
static size_t request_length(struct connection *one) {
    one->in[one->filled] = 0;
    char *end = strstr(one->in, "\r\n\r\n");
    if (!end) return 0;
    char *field = strcasestr(one->in, "\r\ncontent-length:");
    size_t length = (size_t)(end + 4 - one->in) + (field && field < end ? strtoul(field + 17, NULL, 10) : 0);
    return length <= one->filled ? length : 0;
}

/* Reads what is there and answers every whole request; -1 when the connection is over. */
static int serve(int fd, int apart) {
    struct connection *one = connections[fd];
    ssize_t got = recv(fd, one->in + one->filled, ROOM - 1 - one->filled, 0);
    if (got <= 0) return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    one->filled += (size_t)got;
    size_t length;
    while ((length = request_length(one))) {
        if (reply(fd, apart)) return -1;
        one->filled -= length;
        memmove(one->in, one->in + length, one->filled);
    }
    return one->filled < ROOM - 1 ? 0 : -1;
}

static void add(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void welcome(int epoll, int listener) {
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0) return;
    if (fd >= FILES || !(connections[fd] = calloc(1, sizeof(struct connection)))) { close(fd); return; }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    add(epoll, fd);
}

int main(int count, char **words) {
    int apart = count > 1 && !strcmp(words[1], "apart"), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) { perror("listen"); return 1; }
    getsockname(listener, (struct sockaddr *)&address, &size);
    prepare();
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    add(epoll, listener);
    add(epoll, STDIN_FILENO);
    for (;;) {
        struct epoll_event ready[EVENTS];
        int found = epoll_wait(epoll, ready, EVENTS, -1);
        for (int place = 0; place < found; place++) {
            int fd = ready[place].data.fd;
            char ignored[64];
            if (fd == listener) welcome(epoll, listener);
            else if (fd == STDIN_FILENO) { if (read(fd, ignored, sizeof ignored) <= 0) return 0; }
            else if (serve(fd, apart)) { close(fd); free(connections[fd]); connections[fd] = NULL; }
        }
    }
}
