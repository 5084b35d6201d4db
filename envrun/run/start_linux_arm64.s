#include "textflag.h"

// envrun_start is where the program begins if it is linked with -ldflags=-E=envrun_start.
// It notes which signals are ignored, before the Go runtime catches them and so
// forgets it, and goes on to where a Go program begins. See inherited_unix.go.
TEXT envrun_start(SB),NOSPLIT|NOFRAME,$0
	SUB	$64, RSP
	MOVD	$1, R19
next:
	MOVD	$134, R8	// rt_sigaction(R19, NULL, RSP, 8)
	MOVD	R19, R0
	MOVD	$0, R1
	MOVD	RSP, R2
	MOVD	$8, R3
	SVC
	CBNZ	R0, other
	MOVD	(RSP), R4
	CMP	$1, R4		// SIG_IGN
	BNE	other
	MOVD	$1, R5
	LSL	R19, R5, R5
	MOVD	·ignoredAtStart(SB), R6
	ORR	R5, R6, R6
	MOVD	R6, ·ignoredAtStart(SB)
other:
	ADD	$1, R19
	CMP	$32, R19
	BLT	next
	ADD	$64, RSP
	JMP	_rt0_arm64_linux(SB)
