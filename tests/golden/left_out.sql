SELECT
  `t9`.`reason`,
  COUNT(`t9`.`id`) AS `questions`,
  MIN_BY(`t9`.`title`, `t9`.`id`) AS `oldest`
FROM (
  SELECT
    *
  FROM (
    SELECT
      `t7`.`id`,
      `t7`.`title`,
      CASE
        WHEN `t7`.`foreign`
        THEN 'not tagged `python`'
        WHEN `t7`.`other_day`
        THEN 'not asked from 2019-01-01 to before 2027-01-01'
        WHEN `t7`.`answer_id` IS NULL
        THEN 'without an answer'
        WHEN NOT (
          `t7`.`good`
        )
        THEN 'no answer accepted or scored 3 or more'
        ELSE NULL
      END AS `reason`
    FROM (
      SELECT
        `t6`.`id`,
        `t6`.`title`,
        `t6`.`tags`,
        `t6`.`accepted_answer_id`,
        `t6`.`creation_date`,
        `t6`.`foreign`,
        `t6`.`other_day`,
        `t6`.`answer_id`,
        `t6`.`parent_id`,
        `t6`.`score`,
        COALESCE(`t6`.`answer_id` = `t6`.`accepted_answer_id`, FALSE)
        OR COALESCE(`t6`.`score` >= 3, FALSE) AS `good`,
        ROW_NUMBER() OVER (
          PARTITION BY `t6`.`id`
          ORDER BY COALESCE(`t6`.`answer_id` = `t6`.`accepted_answer_id`, FALSE) DESC, `t6`.`score` DESC, `t6`.`answer_id` ASC
        ) - 1 AS `place`
      FROM (
        SELECT
          `t5`.`id`,
          `t5`.`title`,
          `t5`.`tags`,
          `t5`.`accepted_answer_id`,
          `t5`.`creation_date`,
          `t5`.`foreign`,
          `t5`.`other_day`,
          `t3`.`answer_id`,
          `t3`.`parent_id`,
          `t3`.`score`
        FROM (
          SELECT
            `t0`.`id`,
            `t0`.`title`,
            `t0`.`tags`,
            `t0`.`accepted_answer_id`,
            `t0`.`creation_date`,
            NOT (
              COALESCE(INSTR(CONCAT('|', `t0`.`tags`, '|'), '|python|') > 0, FALSE)
            ) AS `foreign`,
            NOT (
              COALESCE(
                (
                  `t0`.`creation_date` >= TIMESTAMP('2019-01-01T00:00:00+00:00')
                )
                AND (
                  `t0`.`creation_date` < TIMESTAMP('2027-01-01T00:00:00+00:00')
                ),
                FALSE
              )
            ) AS `other_day`
          FROM `bigquery-public-data`.`stackoverflow`.`posts_questions` AS `t0`
        ) AS `t5`
        LEFT OUTER JOIN (
          SELECT
            `t1`.`id` AS `answer_id`,
            `t1`.`parent_id`,
            `t1`.`score`
          FROM `bigquery-public-data`.`stackoverflow`.`posts_answers` AS `t1`
        ) AS `t3`
          ON `t5`.`id` = `t3`.`parent_id`
      ) AS `t6`
    ) AS `t7`
    WHERE
      `t7`.`place` = 0
  ) AS `t8`
  WHERE
    `t8`.`reason` IS NOT NULL
) AS `t9`
GROUP BY
  1
