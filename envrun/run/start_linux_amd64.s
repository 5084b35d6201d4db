#include "textflag.h"

// envrun_start is where the program begins if it is linked with -ldflags=-E=envrun_start.
// It notes which signals are ignored, before the Go runtime catches them and so
// forgets it, and goes on to where a Go program begins. See inherited_unix.go.
TEXT envrun_start(SB),NOSPLIT|NOFRAME,$0
	SUBQ	$64, SP
	MOVQ	$1, BX
next:
	MOVQ	$13, AX		// rt_sigaction(BX, NULL, SP, 8)
	MOVQ	BX, DI
	XORL	SI, SI
	MOVQ	SP, DX
	MOVQ	$8, R10
	SYSCALL
	CMPQ	AX, $0
	JNE	other
	CMPQ	(SP), $1	// SIG_IGN
	JNE	other
	MOVQ	$1, AX
	MOVQ	BX, CX
	SHLQ	CX, AX
	ORQ	AX, ·ignoredAtStart(SB)
other:
	INCQ	BX
	CMPQ	BX, $32
	JLT	next
	ADDQ	$64, SP
	JMP	_rt0_amd64_linux(SB)
