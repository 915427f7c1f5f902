"""Runs MediaPipe's pose solution on a clip, as in its documentation. benchmarks.neighbours runs it in a separate
environment, without any part of this project.

python neighbour_mediapipe.py CLIP LANDMARKS.jsonl [DRAWN.mp4]
"""

import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import cv2
import mediapipe as mp  # type: ignore[import-not-found,unused-ignore]

pose_solution, drawing = mp.solutions.pose, mp.solutions.drawing_utils
style = mp.solutions.drawing_styles.get_default_pose_landmarks_style()


def main(clip: str, landmarks: str, drawn: str | None = None) -> None:
    num_frames = found = 0
    with ExitStack() as stack:
        pose = stack.enter_context(pose_solution.Pose(min_detection_confidence=0.5, min_tracking_confidence=0.5))
        began, cpu = time.perf_counter(), time.process_time()
        lines = stack.enter_context(Path(landmarks).open("w", encoding="utf-8"))
        video = cv2.VideoCapture(clip)
        writer = None
        while True:
            there, picture = video.read()
            if not there:
                break
            picture.flags.writeable = False  # lets MediaPipe take the picture without a copy
            result = pose.process(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
            points = result.pose_landmarks.landmark if result.pose_landmarks else []
            lines.write(json.dumps([[point.x, point.y, point.z, point.visibility] for point in points]) + "\n")
            num_frames += 1
            found += bool(points)
            if drawn:
                picture.flags.writeable = True
                drawing.draw_landmarks(picture, result.pose_landmarks, pose_solution.POSE_CONNECTIONS, style)
                if writer is None:
                    size, rate = picture.shape[1::-1], video.get(cv2.CAP_PROP_FPS)
                    writer = cv2.VideoWriter(drawn, cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
                writer.write(picture)
        if writer is not None:
            writer.release()
        video.release()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"frames": num_frames, "found": found, "seconds": seconds, "processor seconds": cpu}))


if __name__ == "__main__":
    main(*sys.argv[1:])
